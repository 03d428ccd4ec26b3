package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/client-go/tools/cache"
)

// mark is the condition by which the sandbox hands a pod to this node, and keeps kwok away from it.
const mark = "sandbox.runner-platform/Process"

const (
	renewEvery = 2 * time.Second
	stopWithin = 10 * time.Second
)

// Node runs the marked pods of one cluster.
type Node struct {
	cluster *Cluster
	config  *Config
	images  *Images
	port    int

	mutex    sync.Mutex
	pods     map[string]*Pod
	nodes    map[string]*corev1.Node
	original map[string][]corev1.NodeAddress
	workers  sync.WaitGroup
}

// serve runs until standard input ends or a signal comes. It writes a line `ready` once it takes pods.
func serve(config *Config) error {
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	defer cancel()
	node, err := newNode(config)
	if err != nil {
		return err
	}
	if err := checkContainer(config); err != nil {
		return err
	}
	lease, err := node.cluster.lease(ctx)
	if err != nil {
		return fmt.Errorf("the cluster does not answer: %w", err)
	}
	if isLive(lease) {
		return fmt.Errorf("another process node (%s) runs the jobs of this cluster; wait until it ends", *lease.Spec.HolderIdentity)
	}
	server, err := newServer(node, config)
	if err != nil {
		return err
	}
	node.port = server.port()
	go func() { _ = server.serve() }()
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin) // the caller holds the other end: it ended
		cancel()
	}()
	holder := "process " + strconv.Itoa(os.Getpid())
	if err := node.cluster.renew(ctx, holder); err != nil {
		return fmt.Errorf("the cluster refuses the lease: %w", err)
	}
	go node.keepLease(ctx, holder)
	node.watch(ctx)
	fmt.Println("ready")
	<-ctx.Done()
	node.stop()
	return nil
}

func newNode(config *Config) (*Node, error) {
	images, err := newImages(config)
	if err != nil {
		return nil, err
	}
	cluster, err := newCluster(config.Kubeconfig)
	if err != nil {
		return nil, err
	}
	if err := emptyFolder(config.Folder); err != nil {
		return nil, err
	}
	return &Node{
		cluster: cluster, config: config, images: images, pods: map[string]*Pod{}, nodes: map[string]*corev1.Node{},
		original: map[string][]corev1.NodeAddress{},
	}, nil
}

func emptyFolder(folder string) error {
	if err := os.RemoveAll(folder); err != nil {
		return fmt.Errorf("empty %s: %w", folder, err)
	}
	return os.MkdirAll(folder, 0o700)
}

func (node *Node) keepLease(ctx context.Context, holder string) {
	ticker := time.NewTicker(renewEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			_ = node.cluster.renew(ctx, holder)
		case <-ctx.Done():
			return
		}
	}
}

// watch starts to follow nodes and pods, and returns once it knows the present ones.
func (node *Node) watch(ctx context.Context) {
	_, nodes := cache.NewInformerWithOptions(cache.InformerOptions{
		ListerWatcher: cache.NewListWatchFromClient(node.cluster.core, "nodes", "", fields.Everything()),
		ObjectType:    &corev1.Node{},
		Handler: cache.ResourceEventHandlerFuncs{
			AddFunc:    func(object any) { node.takeOver(ctx, object.(*corev1.Node)) },
			UpdateFunc: func(_, object any) { node.takeOver(ctx, object.(*corev1.Node)) },
		},
	})
	go nodes.RunWithContext(ctx)
	cache.WaitForCacheSync(ctx.Done(), nodes.HasSynced)
	_, pods := cache.NewInformerWithOptions(cache.InformerOptions{
		ListerWatcher: cache.NewListWatchFromClient(node.cluster.core, "pods", "", fields.Everything()),
		ObjectType:    &corev1.Pod{},
		Handler: cache.ResourceEventHandlerFuncs{
			AddFunc:    func(object any) { node.take(ctx, object.(*corev1.Pod)) },
			UpdateFunc: func(_, object any) { node.take(ctx, object.(*corev1.Pod)) },
			DeleteFunc: node.forget,
		},
	})
	go pods.RunWithContext(ctx)
	cache.WaitForCacheSync(ctx.Done(), pods.HasSynced)
}

// takeOver makes the API server ask this process for logs, exec and attach on a node.
func (node *Node) takeOver(ctx context.Context, object *corev1.Node) {
	node.mutex.Lock()
	if _, seen := node.original[object.Name]; !seen {
		node.original[object.Name] = object.Status.Addresses
	}
	node.nodes[object.Name] = object
	node.mutex.Unlock()
	if int(object.Status.DaemonEndpoints.KubeletEndpoint.Port) == node.port && hasOwnAddress(object) {
		return
	}
	addresses := []corev1.NodeAddress{{Type: corev1.NodeHostName, Address: "127.0.0.1"}}
	for _, address := range object.Status.Addresses {
		if address.Type != corev1.NodeHostName {
			addresses = append(addresses, address)
		}
	}
	_ = node.writeEndpoint(ctx, object.Name, addresses, node.port)
}

func hasOwnAddress(object *corev1.Node) bool {
	for _, address := range object.Status.Addresses {
		if address.Type == corev1.NodeHostName {
			return address.Address == "127.0.0.1"
		}
	}
	return false
}

func (node *Node) writeEndpoint(ctx context.Context, name string, addresses []corev1.NodeAddress, port int) error {
	endpoint := map[string]any{"kubeletEndpoint": map[string]any{"Port": port}}
	return node.cluster.patchNodeStatus(ctx, name, map[string]any{"addresses": addresses, "daemonEndpoints": endpoint})
}

func isMarked(object *corev1.Pod) bool {
	for _, condition := range object.Status.Conditions {
		if string(condition.Type) == mark {
			return condition.Status == corev1.ConditionTrue
		}
	}
	return false
}

// take starts a new pod, and tells a running one about its deletion.
func (node *Node) take(ctx context.Context, object *corev1.Pod) {
	if !isMarked(object) || ctx.Err() != nil {
		return
	}
	key := object.Namespace + "/" + object.Name
	node.mutex.Lock()
	defer node.mutex.Unlock()
	pod := node.pods[key]
	if pod != nil && pod.object.UID == object.UID {
		if object.DeletionTimestamp != nil {
			pod.delete(object)
		}
		return
	}
	pod = newPod(node, object)
	node.pods[key] = pod
	node.workers.Add(1)
	go func() {
		defer node.workers.Done()
		pod.run()
	}()
}

func (node *Node) forget(object any) {
	if final, ok := object.(cache.DeletedFinalStateUnknown); ok {
		object = final.Obj
	}
	gone, ok := object.(*corev1.Pod)
	if !ok {
		return
	}
	key := gone.Namespace + "/" + gone.Name
	node.mutex.Lock()
	defer node.mutex.Unlock()
	if pod := node.pods[key]; pod != nil && pod.object.UID == gone.UID {
		pod.abandon()
		delete(node.pods, key)
	}
}

func (node *Node) pod(key string) *Pod {
	node.mutex.Lock()
	defer node.mutex.Unlock()
	return node.pods[key]
}

func (node *Node) container(namespace, name, container string) *Container {
	pod := node.pod(namespace + "/" + name)
	if pod == nil {
		return nil
	}
	started, _ := pod.command(container)
	return started
}

// stop ends every pod, removes their objects, and gives the nodes back to kwok.
func (node *Node) stop() {
	ctx, cancel := context.WithTimeout(context.Background(), stopWithin)
	defer cancel()
	node.mutex.Lock()
	for _, pod := range node.pods {
		pod.abandon()
	}
	node.mutex.Unlock()
	node.workers.Wait()
	node.mutex.Lock()
	defer node.mutex.Unlock()
	node.cluster.release(ctx)
	for _, pod := range node.pods {
		_ = node.cluster.removePod(ctx, pod.object)
	}
	for name, addresses := range node.original {
		_ = node.writeEndpoint(ctx, name, addresses, 0)
	}
	_ = os.RemoveAll(node.config.Folder)
}

// check starts one container and says in one sentence what stops it.
func check(config *Config) error {
	if err := emptyFolder(config.Folder); err != nil {
		return err
	}
	defer os.RemoveAll(config.Folder)
	return checkContainer(config)
}

func checkContainer(config *Config) error {
	folder := filepath.Join(config.Folder, "check")
	defer os.RemoveAll(folder)
	root := filepath.Join(folder, "root")
	if err := os.MkdirAll(root, 0o700); err != nil {
		return err
	}
	log, err := newLog(filepath.Join(folder, "log"))
	if err != nil {
		return err
	}
	command := Command{Arguments: []string{"true"}, Environment: []string{"PATH=" + systemPath}, Folder: "/"}
	plan := &Plan{Root: root, Hostname: "check", Command: command}
	container, err := startContainer(plan, 0, log, false, false)
	if err != nil {
		return fmt.Errorf("cannot run a job as a process: %w", err)
	}
	<-container.ended
	if container.code != 0 {
		return errors.New("cannot run a job as a process: /bin/true fails in namespaces of its own")
	}
	return nil
}

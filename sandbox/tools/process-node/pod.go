package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const (
	podIP           = "127.0.0.1"
	statusTries     = 20
	completedReason = "Completed"
	errorReason     = "Error"
)

// defaultCapabilities are what container runtimes give a container's root.
var defaultCapabilities = map[corev1.Capability]int{
	"CHOWN": 0, "DAC_OVERRIDE": 1, "FOWNER": 3, "FSETID": 4, "KILL": 5, "SETGID": 6, "SETUID": 7, "SETPCAP": 8,
	"NET_BIND_SERVICE": 10, "NET_RAW": 13, "SYS_CHROOT": 18, "MKNOD": 27, "AUDIT_WRITE": 29, "SETFCAP": 31,
}

// Pod runs one pod from its start to the removal of its object.
type Pod struct {
	node    *Node
	object  *corev1.Pod
	folder  string
	volumes *Volumes

	mutex    sync.Mutex
	started  map[string]*Container
	commands map[string]Command
	states   map[string]corev1.ContainerState
	start    time.Time
	reason   string
	message  string

	deleted   chan struct{}
	abandoned chan struct{}
	deletion  sync.Once
	end       sync.Once
	grace     time.Duration
}

func newPod(node *Node, object *corev1.Pod) *Pod {
	folder := filepath.Join(node.config.Folder, string(object.UID))
	pod := &Pod{
		node: node, object: object, folder: folder, start: time.Now(),
		volumes: &Volumes{cluster: node.cluster, pod: object, podIP: podIP, folder: filepath.Join(folder, "volumes")},
		started: map[string]*Container{}, commands: map[string]Command{}, states: map[string]corev1.ContainerState{},
		deleted: make(chan struct{}), abandoned: make(chan struct{}),
	}
	for _, container := range pod.all() {
		pod.states[container.Name] = waiting("PodInitializing", "")
	}
	if object.DeletionTimestamp != nil {
		pod.delete(object)
	}
	return pod
}

func (pod *Pod) all() []corev1.Container {
	return append(slices.Clone(pod.object.Spec.InitContainers), pod.object.Spec.Containers...)
}

// delete ends the pod with its grace period.
func (pod *Pod) delete(object *corev1.Pod) {
	pod.deletion.Do(func() {
		if object.DeletionGracePeriodSeconds != nil {
			pod.grace = time.Duration(*object.DeletionGracePeriodSeconds) * time.Second
		}
		close(pod.deleted)
	})
}

// abandon ends the pod at once: its object is gone, or the node ends.
func (pod *Pod) abandon() { pod.end.Do(func() { close(pod.abandoned) }) }

// command returns a running or ended container, and what a further command in it starts with.
func (pod *Pod) command(name string) (*Container, Command) {
	pod.mutex.Lock()
	defer pod.mutex.Unlock()
	return pod.started[name], pod.commands[name]
}

// run runs the pod until its object is removed.
func (pod *Pod) run() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	defer os.RemoveAll(pod.folder)
	deadline := make(<-chan time.Time)
	if seconds := pod.object.Spec.ActiveDeadlineSeconds; seconds != nil {
		deadline = time.After(time.Duration(*seconds) * time.Second)
	}
	stop := make(chan struct{}) // closed when no further container may start
	finished := make(chan struct{})
	go func() {
		defer close(finished)
		pod.runContainers(ctx, stop)
	}()
	select {
	case <-finished:
	case <-deadline:
		pod.fail("DeadlineExceeded", "Pod was active on the node longer than the specified deadline")
		close(stop)
		pod.terminate(time.Duration(graceSeconds(pod.object)) * time.Second)
		<-finished
	case <-pod.deleted:
		close(stop)
		pod.terminate(pod.grace)
		<-finished
	case <-pod.abandoned:
		close(stop)
		pod.terminate(0)
		<-finished
		return
	}
	pod.writeStatus(ctx)
	select {
	case <-pod.deleted:
		_ = pod.node.cluster.removePod(ctx, pod.object)
		<-pod.abandoned
	case <-pod.abandoned:
	}
}

func graceSeconds(object *corev1.Pod) int64 {
	if seconds := object.Spec.TerminationGracePeriodSeconds; seconds != nil {
		return *seconds
	}
	return 30
}

// runContainers runs the init containers one after the other, then all others, and returns when the last one ended.
func (pod *Pod) runContainers(ctx context.Context, stop <-chan struct{}) {
	if !pod.admit(ctx) {
		pod.writeStatus(ctx)
		<-stop // a kubelet tries again until the pod is deleted
		return
	}
	if err := pod.volumes.write(ctx); err != nil {
		pod.fail("FailedMount", err.Error())
		return
	}
	for index := range pod.object.Spec.InitContainers {
		container := pod.startOne(ctx, &pod.object.Spec.InitContainers[index], stop)
		if container == nil {
			return
		}
		pod.writeStatus(ctx)
		<-container.ended
		pod.note(&pod.object.Spec.InitContainers[index], container)
		if container.code != 0 {
			return
		}
	}
	group := sync.WaitGroup{}
	for index := range pod.object.Spec.Containers {
		specification := &pod.object.Spec.Containers[index]
		container := pod.startOne(ctx, specification, stop)
		if container == nil {
			continue
		}
		group.Add(1)
		go func() {
			defer group.Done()
			<-container.ended
			pod.note(specification, container)
			pod.writeStatus(ctx)
		}()
	}
	pod.writeStatus(ctx)
	renewing, cancel := context.WithCancel(ctx)
	go pod.renewTokens(renewing)
	group.Wait()
	cancel()
}

// admit writes the states of containers that cannot run here, and returns whether all can.
func (pod *Pod) admit(ctx context.Context) bool {
	problems := unsupported(pod.object)
	fine := true
	pod.mutex.Lock()
	defer pod.mutex.Unlock()
	for _, container := range pod.all() {
		image := pod.node.images.problem(&container)
		switch {
		case problems[container.Name] != "":
			pod.states[container.Name] = waiting("CreateContainerConfigError", problems[container.Name])
		case image != nil:
			pod.states[container.Name] = corev1.ContainerState{Waiting: image}
		default:
			continue
		}
		fine = false
	}
	return fine && ctx.Err() == nil
}

// startOne starts a container; without success it writes why into the container's state and returns nil.
func (pod *Pod) startOne(ctx context.Context, specification *corev1.Container, stop <-chan struct{}) *Container {
	pod.mutex.Lock()
	defer pod.mutex.Unlock()
	select {
	case <-stop:
		return nil
	default:
	}
	plan, user, err := pod.plan(ctx, specification)
	if err != nil {
		pod.states[specification.Name] = failedStart(128, "CreateContainerError", err.Error())
		return nil
	}
	log, err := newLog(filepath.Join(pod.folder, specification.Name+".log"))
	if err != nil {
		pod.states[specification.Name] = failedStart(128, "CreateContainerError", err.Error())
		return nil
	}
	container, err := startContainer(plan, user, log, specification.Stdin, specification.StdinOnce)
	if err != nil {
		pod.states[specification.Name] = failedStart(128, "StartError", err.Error())
		return nil
	}
	pod.started[specification.Name] = container
	pod.commands[specification.Name] = plan.Command
	pod.states[specification.Name] = corev1.ContainerState{
		Running: &corev1.ContainerStateRunning{StartedAt: metav1.NewTime(container.started)},
	}
	return container
}

// plan composes what a container sees.
func (pod *Pod) plan(ctx context.Context, container *corev1.Container) (*Plan, int, error) {
	image := pod.node.images.find(container.Image)
	variables, err := pod.environment(ctx, container, image)
	if err != nil {
		return nil, 0, err
	}
	binds, err := pod.volumes.binds(container, variables)
	if err != nil {
		return nil, 0, err
	}
	user := userOf(pod.object, container, image)
	for _, folder := range pod.node.config.Programs {
		binds = append(binds, Bind{Source: folder, Target: folder, ReadOnly: true})
	}
	for target, source := range image.Folders {
		binds = append(binds, Bind{Source: source, Target: target, ReadOnly: true})
	}
	files := map[string]string{
		"/etc/hosts": hosts(pod.object), "/etc/hostname": pod.object.Name + "\n",
		"/etc/passwd": users(user, variables["HOME"]), "/etc/group": groups(user),
	}
	if text, err := os.ReadFile("/etc/resolv.conf"); err == nil {
		files["/etc/resolv.conf"] = string(text)
	}
	for name, text := range image.Files {
		if !covered(name, container) {
			files[name] = text
		}
	}
	root := filepath.Join(pod.folder, "roots", container.Name)
	if err := os.MkdirAll(root, 0o755); err != nil {
		return nil, 0, err
	}
	return &Plan{
		Root: root, Hostname: pod.object.Name, Binds: binds, Files: files, Folders: []string{variables["HOME"]},
		Command: Command{
			Arguments:    arguments(container, variables),
			Environment:  pairs(variables),
			Folder:       firstOf(container.WorkingDir, image.WorkingDir, "/"),
			Terminal:     container.TTY,
			Capabilities: capabilities(container, user),
			NoPrivileges: noNewPrivileges(container),
		},
	}, user, nil
}

// covered tells whether a volume hides a file of the image.
func covered(name string, container *corev1.Container) bool {
	for _, mount := range container.VolumeMounts {
		if relative, err := filepath.Rel(mount.MountPath, name); err == nil && filepath.IsLocal(relative) {
			return true
		}
	}
	return false
}

func arguments(container *corev1.Container, variables map[string]string) []string {
	words := expandAll(append(slices.Clone(container.Command), container.Args...), variables)
	if len(words) == 0 {
		return []string{"bash"}
	}
	return words
}

func userOf(pod *corev1.Pod, container *corev1.Container, image *Image) int {
	user := image.User
	if context := pod.Spec.SecurityContext; context != nil && context.RunAsUser != nil {
		user = *context.RunAsUser
	}
	if context := container.SecurityContext; context != nil && context.RunAsUser != nil {
		user = *context.RunAsUser
	}
	return int(user)
}

func noNewPrivileges(container *corev1.Container) bool {
	context := container.SecurityContext
	return context != nil && context.AllowPrivilegeEscalation != nil && !*context.AllowPrivilegeEscalation
}

// capabilities returns the numbers of the capabilities that a container keeps: none for a user other than root.
func capabilities(container *corev1.Container, user int) []int {
	if user != 0 {
		return nil
	}
	dropped := []corev1.Capability{}
	if context := container.SecurityContext; context != nil && context.Capabilities != nil {
		dropped = context.Capabilities.Drop
	}
	kept := []int{}
	for name, number := range defaultCapabilities {
		if !slices.Contains(dropped, name) && !slices.Contains(dropped, "ALL") {
			kept = append(kept, number)
		}
	}
	return kept
}

func hosts(pod *corev1.Pod) string {
	text := fmt.Sprintf("127.0.0.1\tlocalhost\n::1\tlocalhost\n%s\t%s\n", podIP, pod.Name)
	for _, alias := range pod.Spec.HostAliases {
		for _, name := range alias.Hostnames {
			text += alias.IP + "\t" + name + "\n"
		}
	}
	if host, err := os.ReadFile("/etc/hosts"); err == nil {
		text += string(host)
	}
	return text
}

func users(user int, home string) string {
	text := "root:x:0:0:root:/root:/bin/bash\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n"
	if user != 0 && user != 65534 {
		text += fmt.Sprintf("runner:x:%d:%d::%s:/bin/bash\n", user, user, home)
	}
	return text
}

func groups(user int) string {
	text := "root:x:0:\nnogroup:x:65534:\n"
	if user != 0 && user != 65534 {
		text += fmt.Sprintf("runner:x:%d:\n", user)
	}
	return text
}

func firstOf(texts ...string) string {
	for _, text := range texts {
		if text != "" {
			return text
		}
	}
	return ""
}

// terminate ends all containers: SIGTERM to their first programs, and the end of all processes after the grace period.
func (pod *Pod) terminate(grace time.Duration) {
	pod.mutex.Lock()
	running := make([]*Container, 0, len(pod.started))
	for _, container := range pod.started {
		running = append(running, container)
	}
	pod.mutex.Unlock()
	timer := time.NewTimer(grace)
	defer timer.Stop()
	if grace > 0 {
		for _, container := range running {
			container.signal(syscall.SIGTERM)
		}
	}
	for _, container := range running {
		select {
		case <-container.ended:
			continue
		case <-timer.C:
		case <-pod.abandoned:
		}
		timer.Reset(0)
		container.kill()
	}
}

func (pod *Pod) renewTokens(ctx context.Context) {
	for !pod.volumes.renew.IsZero() {
		select {
		case <-time.After(time.Until(pod.volumes.renew)):
		case <-ctx.Done():
			return
		}
		if err := pod.volumes.write(ctx); err != nil {
			pod.volumes.renew = time.Now().Add(time.Minute) // the old token is good for a while
		}
	}
}

func (pod *Pod) fail(reason, message string) {
	pod.mutex.Lock()
	defer pod.mutex.Unlock()
	pod.reason, pod.message = reason, message
}

func (pod *Pod) note(specification *corev1.Container, container *Container) {
	pod.mutex.Lock()
	defer pod.mutex.Unlock()
	reason := completedReason
	if container.code != 0 {
		reason = errorReason
	}
	pod.states[specification.Name] = corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{
		ExitCode: int32(container.code), Reason: reason, Message: container.problem,
		StartedAt: metav1.NewTime(container.started), FinishedAt: metav1.NewTime(container.finished),
	}}
}

func (pod *Pod) writeStatus(ctx context.Context) {
	for try := range statusTries {
		pod.mutex.Lock()
		status := pod.status()
		pod.mutex.Unlock()
		err := pod.node.cluster.patchPodStatus(ctx, pod.object, status)
		if err == nil || apierrors.IsNotFound(err) || apierrors.IsConflict(err) || ctx.Err() != nil {
			return
		}
		if apierrors.IsInvalid(err) {
			fmt.Fprintln(os.Stderr, "status of pod", pod.object.Name, "refused:", err)
			return
		}
		select { // the API server may be restarting
		case <-time.After(time.Duration(try+1) * 100 * time.Millisecond):
		case <-pod.abandoned:
			return
		}
	}
}

package main

import (
	"context"
	"encoding/json"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// The lease by which the sandbox sees whether a process node runs in a cluster. The stand-in kubelet reads it
// (`kubernetes/kubelet.py`).
const (
	leaseNamespace = "kube-system"
	leaseName      = "process-node"
	leaseSeconds   = 30
)

// Cluster makes the few calls that a kubelet makes. The generated clients would take three times as long to build.
type Cluster struct {
	core         *rest.RESTClient
	coordination *rest.RESTClient
	parameters   runtime.ParameterCodec
}

func newCluster(kubeconfig string) (*Cluster, error) {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{corev1.AddToScheme, authenticationv1.AddToScheme, coordinationv1.AddToScheme} {
		if err := add(scheme); err != nil {
			return nil, err
		}
	}
	metav1.AddToGroupVersion(scheme, schema.GroupVersion{Version: "v1"})
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return nil, err
	}
	config.QPS, config.Burst = 100, 200
	config.UserAgent = "process-node"
	config.NegotiatedSerializer = serializer.NewCodecFactory(scheme).WithoutConversion()
	core, err := restClient(config, "/api", corev1.SchemeGroupVersion)
	if err != nil {
		return nil, err
	}
	coordination, err := restClient(config, "/apis", coordinationv1.SchemeGroupVersion)
	if err != nil {
		return nil, err
	}
	return &Cluster{core: core, coordination: coordination, parameters: runtime.NewParameterCodec(scheme)}, nil
}

func restClient(config *rest.Config, path string, version schema.GroupVersion) (*rest.RESTClient, error) {
	own := rest.CopyConfig(config)
	own.APIPath, own.GroupVersion = path, &version
	return rest.RESTClientFor(own)
}

func (cluster *Cluster) secret(ctx context.Context, namespace, name string) (*corev1.Secret, error) {
	object := &corev1.Secret{}
	return object, cluster.core.Get().Namespace(namespace).Resource("secrets").Name(name).Do(ctx).Into(object)
}

func (cluster *Cluster) configMap(ctx context.Context, namespace, name string) (*corev1.ConfigMap, error) {
	object := &corev1.ConfigMap{}
	return object, cluster.core.Get().Namespace(namespace).Resource("configmaps").Name(name).Do(ctx).Into(object)
}

func (cluster *Cluster) service(ctx context.Context, namespace, name string) (*corev1.Service, error) {
	object := &corev1.Service{}
	return object, cluster.core.Get().Namespace(namespace).Resource("services").Name(name).Do(ctx).Into(object)
}

// token requests a service account token bound to a pod, as a kubelet does for a projected volume.
func (cluster *Cluster) token(ctx context.Context, pod *corev1.Pod, source *corev1.ServiceAccountTokenProjection) (*authenticationv1.TokenRequest, error) {
	request := &authenticationv1.TokenRequest{
		Spec: authenticationv1.TokenRequestSpec{
			ExpirationSeconds: source.ExpirationSeconds,
			BoundObjectRef: &authenticationv1.BoundObjectReference{
				APIVersion: "v1", Kind: "Pod", Name: pod.Name, UID: pod.UID,
			},
		},
	}
	if source.Audience != "" {
		request.Spec.Audiences = []string{source.Audience}
	}
	answer := &authenticationv1.TokenRequest{}
	err := cluster.core.Post().Namespace(pod.Namespace).Resource("serviceaccounts").Name(pod.Spec.ServiceAccountName).
		SubResource("token").Body(request).Do(ctx).Into(answer)
	return answer, err
}

// patchPodStatus writes a pod's status; it fails with NotFound or Conflict if another pod has the name by now.
func (cluster *Cluster) patchPodStatus(ctx context.Context, pod *corev1.Pod, status *corev1.PodStatus) error {
	fields, err := statusFields(status)
	if err != nil {
		return err
	}
	text, err := json.Marshal(map[string]any{"metadata": map[string]any{"uid": pod.UID}, "status": fields})
	if err != nil {
		return err
	}
	return cluster.core.Patch(types.StrategicMergePatchType).Namespace(pod.Namespace).Resource("pods").Name(pod.Name).
		SubResource("status").Body(text).Do(ctx).Error()
}

// statusFields returns a status as a patch. A condition without reason and message clears those of an earlier patch, which
// an omitted field would keep.
func statusFields(status *corev1.PodStatus) (map[string]any, error) {
	fields, err := runtime.DefaultUnstructuredConverter.ToUnstructured(status)
	if err != nil {
		return nil, err
	}
	conditions, _ := fields["conditions"].([]any)
	for _, condition := range conditions {
		entry, _ := condition.(map[string]any)
		for _, name := range []string{"reason", "message"} {
			if _, present := entry[name]; !present {
				entry[name] = nil
			}
		}
	}
	return fields, nil
}

// removePod removes the object of a pod whose containers ended.
func (cluster *Cluster) removePod(ctx context.Context, pod *corev1.Pod) error {
	now := int64(0)
	options := &metav1.DeleteOptions{GracePeriodSeconds: &now, Preconditions: &metav1.Preconditions{UID: &pod.UID}}
	err := cluster.core.Delete().Namespace(pod.Namespace).Resource("pods").Name(pod.Name).Body(options).Do(ctx).Error()
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return nil
	}
	return err
}

func (cluster *Cluster) patchNodeStatus(ctx context.Context, name string, status map[string]any) error {
	text, err := json.Marshal(map[string]any{"status": status})
	if err != nil {
		return err
	}
	return cluster.core.Patch(types.MergePatchType).Resource("nodes").Name(name).SubResource("status").Body(text).Do(ctx).Error()
}

// lease returns the process node's lease, or nil.
func (cluster *Cluster) lease(ctx context.Context) (*coordinationv1.Lease, error) {
	object := &coordinationv1.Lease{}
	err := cluster.coordination.Get().Namespace(leaseNamespace).Resource("leases").Name(leaseName).Do(ctx).Into(object)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	return object, err
}

// renew makes or renews the lease.
func (cluster *Cluster) renew(ctx context.Context, holder string) error {
	seconds, now := int32(leaseSeconds), metav1.NowMicro()
	spec := coordinationv1.LeaseSpec{HolderIdentity: &holder, LeaseDurationSeconds: &seconds, RenewTime: &now}
	text, err := json.Marshal(map[string]any{"spec": spec})
	if err != nil {
		return err
	}
	leases := cluster.coordination
	err = leases.Patch(types.MergePatchType).Namespace(leaseNamespace).Resource("leases").Name(leaseName).Body(text).Do(ctx).Error()
	if !apierrors.IsNotFound(err) {
		return err
	}
	object := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Name: leaseName, Namespace: leaseNamespace}, Spec: spec}
	return leases.Post().Namespace(leaseNamespace).Resource("leases").Body(object).Do(ctx).Error()
}

func (cluster *Cluster) release(ctx context.Context) {
	_ = cluster.coordination.Delete().Namespace(leaseNamespace).Resource("leases").Name(leaseName).Do(ctx).Error()
}

func isLive(lease *coordinationv1.Lease) bool {
	if lease == nil || lease.Spec.RenewTime == nil || lease.Spec.LeaseDurationSeconds == nil {
		return false
	}
	return time.Since(lease.Spec.RenewTime.Time) < time.Duration(*lease.Spec.LeaseDurationSeconds)*time.Second
}

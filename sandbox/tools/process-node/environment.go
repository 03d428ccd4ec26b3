package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// environment returns the variables of a container: those of its image, the pod's name, the address of the API server
// as every container has it, `envFrom`, and `env`; later ones win.
func (pod *Pod) environment(ctx context.Context, container *corev1.Container, image *Image) (map[string]string, error) {
	variables := map[string]string{"PATH": systemPath, "HOME": "/root"}
	maps.Copy(variables, image.Environment)
	variables["HOSTNAME"] = pod.object.Name
	if service, err := pod.node.cluster.service(ctx, "default", "kubernetes"); err == nil {
		maps.Copy(variables, serviceVariables(service))
	}
	for index := range container.EnvFrom {
		if err := pod.addSource(ctx, &container.EnvFrom[index], variables); err != nil {
			return nil, err
		}
	}
	for index := range container.Env {
		variable := &container.Env[index]
		text, present, err := pod.value(ctx, container, variable, variables)
		if err != nil {
			return nil, err
		}
		if present {
			variables[variable.Name] = text
		}
	}
	return variables, nil
}

func serviceVariables(service *corev1.Service) map[string]string {
	address := service.Spec.ClusterIP
	port := "443"
	if len(service.Spec.Ports) > 0 {
		port = strconv.Itoa(int(service.Spec.Ports[0].Port))
	}
	url := fmt.Sprintf("tcp://%s:%s", address, port)
	prefix := "KUBERNETES_PORT_" + port + "_TCP"
	return map[string]string{
		"KUBERNETES_SERVICE_HOST": address, "KUBERNETES_SERVICE_PORT": port, "KUBERNETES_SERVICE_PORT_HTTPS": port,
		"KUBERNETES_PORT": url, prefix: url, prefix + "_PROTO": "tcp", prefix + "_PORT": port, prefix + "_ADDR": address,
	}
}

func (pod *Pod) addSource(ctx context.Context, source *corev1.EnvFromSource, variables map[string]string) error {
	namespace := pod.object.Namespace
	if source.ConfigMapRef != nil {
		object, err := pod.node.cluster.configMap(ctx, namespace, source.ConfigMapRef.Name)
		if apierrors.IsNotFound(err) && isTrue(source.ConfigMapRef.Optional) {
			return nil
		}
		if err != nil {
			return err
		}
		for key, text := range object.Data {
			variables[source.Prefix+key] = text
		}
	}
	if source.SecretRef != nil {
		object, err := pod.node.cluster.secret(ctx, namespace, source.SecretRef.Name)
		if apierrors.IsNotFound(err) && isTrue(source.SecretRef.Optional) {
			return nil
		}
		if err != nil {
			return err
		}
		for key, text := range object.Data {
			variables[source.Prefix+key] = string(text)
		}
	}
	return nil
}

func (pod *Pod) value(ctx context.Context, container *corev1.Container, variable *corev1.EnvVar, variables map[string]string) (string, bool, error) {
	source := variable.ValueFrom
	if source == nil {
		return expand(variable.Value, variables), true, nil
	}
	namespace := pod.object.Namespace
	switch {
	case source.FieldRef != nil || source.ResourceFieldRef != nil:
		text, err := fieldText(pod.object, podIP, source.FieldRef, source.ResourceFieldRef, container.Name)
		return text, err == nil, err
	case source.SecretKeyRef != nil:
		reference := source.SecretKeyRef
		object, err := pod.node.cluster.secret(ctx, namespace, reference.Name)
		text, present := object.Data[reference.Key]
		return keyValue(string(text), present, err, isTrue(reference.Optional), "Secret", namespace, reference.Name, reference.Key)
	case source.ConfigMapKeyRef != nil:
		reference := source.ConfigMapKeyRef
		object, err := pod.node.cluster.configMap(ctx, namespace, reference.Name)
		text, present := object.Data[reference.Key]
		return keyValue(text, present, err, isTrue(reference.Optional), "ConfigMap", namespace, reference.Name, reference.Key)
	}
	return "", false, fmt.Errorf("jobs run as processes: the source of variable %s needs real pods", variable.Name)
}

func keyValue(text string, present bool, err error, optional bool, kind, namespace, name, key string) (string, bool, error) {
	switch {
	case err == nil && present:
		return text, true, nil
	case optional && (err == nil || apierrors.IsNotFound(err)):
		return "", false, nil
	case err != nil:
		return "", false, err
	}
	return "", false, fmt.Errorf("couldn't find key %s in %s %s/%s", key, kind, namespace, name)
}

// expand replaces $(NAME) by the value of an earlier variable; $$ is a dollar sign, unknown names stay as they are.
func expand(text string, variables map[string]string) string {
	result := strings.Builder{}
	for index := 0; index < len(text); index++ {
		if text[index] != '$' || index+1 == len(text) {
			result.WriteByte(text[index])
			continue
		}
		rest := text[index+1:]
		if rest[0] == '$' {
			result.WriteByte('$')
			index++
			continue
		}
		end := strings.IndexByte(rest, ')')
		if rest[0] != '(' || end < 0 {
			result.WriteByte('$')
			continue
		}
		name := rest[1:end]
		if value, known := variables[name]; known {
			result.WriteString(value)
		} else {
			result.WriteString("$(" + name + ")")
		}
		index += end + 1
	}
	return result.String()
}

func expandAll(texts []string, variables map[string]string) []string {
	expanded := make([]string, 0, len(texts))
	for _, text := range texts {
		expanded = append(expanded, expand(text, variables))
	}
	return expanded
}

func pairs(variables map[string]string) []string {
	lines := make([]string, 0, len(variables))
	for _, name := range slices.Sorted(maps.Keys(variables)) {
		lines = append(lines, name+"="+variables[name])
	}
	return lines
}

// fieldText returns a value of the downward API.
func fieldText(pod *corev1.Pod, address string, field *corev1.ObjectFieldSelector, amount *corev1.ResourceFieldSelector, container string) (string, error) {
	if amount != nil {
		return amountText(pod, amount, container)
	}
	path := field.FieldPath
	values := map[string]string{
		"metadata.name": pod.Name, "metadata.namespace": pod.Namespace, "metadata.uid": string(pod.UID),
		"spec.nodeName": pod.Spec.NodeName, "spec.serviceAccountName": pod.Spec.ServiceAccountName,
		"status.podIP": address, "status.podIPs": address, "status.hostIP": address, "status.hostIPs": address,
		"metadata.labels": mapText(pod.Labels), "metadata.annotations": mapText(pod.Annotations),
	}
	if text, known := values[path]; known {
		return text, nil
	}
	for prefix, entries := range map[string]map[string]string{"metadata.labels['": pod.Labels, "metadata.annotations['": pod.Annotations} {
		if key, found := strings.CutPrefix(path, prefix); found {
			return entries[strings.TrimSuffix(key, "']")], nil
		}
	}
	return "", fmt.Errorf("unsupported fieldPath: %s", path)
}

func mapText(entries map[string]string) string {
	lines := make([]string, 0, len(entries))
	for _, key := range slices.Sorted(maps.Keys(entries)) {
		lines = append(lines, fmt.Sprintf("%s=%q", key, entries[key]))
	}
	return strings.Join(lines, "\n")
}

func amountText(pod *corev1.Pod, selector *corev1.ResourceFieldSelector, container string) (string, error) {
	name := selector.ContainerName
	if name == "" {
		name = container
	}
	for _, candidate := range append(slices.Clone(pod.Spec.InitContainers), pod.Spec.Containers...) {
		if candidate.Name != name {
			continue
		}
		kind, resource, _ := strings.Cut(selector.Resource, ".")
		amounts := candidate.Resources.Limits
		if kind == "requests" {
			amounts = candidate.Resources.Requests
		}
		quantity, divisor := amounts[corev1.ResourceName(resource)], selector.Divisor
		unit := int64(1000)
		if !divisor.IsZero() {
			unit = divisor.MilliValue()
		}
		return strconv.FormatInt((quantity.MilliValue()+unit-1)/unit, 10), nil
	}
	return "", fmt.Errorf("no container %q", name)
}

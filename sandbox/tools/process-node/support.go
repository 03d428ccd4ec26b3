package main

import (
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
)

// containers are the names that GitLab's runner gives its own containers; every other one is a service.
var containers = []string{"build", "helper"}

// unsupported returns what a pod asks for and processes cannot give, by container, or an empty map.
func unsupported(pod *corev1.Pod) map[string]string {
	problems := map[string]string{}
	for _, volume := range pod.Spec.Volumes {
		if !supportedVolume(&volume) {
			for _, container := range pod.Spec.Containers {
				problems[container.Name] = fmt.Sprintf("jobs run as processes: volume %q needs real pods", volume.Name)
			}
		}
	}
	for _, container := range pod.Spec.Containers {
		if !slices.Contains(containers, container.Name) {
			problems[container.Name] = "jobs run as processes: services need real pods"
		}
	}
	for _, container := range append(slices.Clone(pod.Spec.InitContainers), pod.Spec.Containers...) {
		context := container.SecurityContext
		if context != nil && context.Privileged != nil && *context.Privileged {
			problems[container.Name] = "jobs run as processes: privileged containers need real pods"
		}
	}
	return problems
}

func supportedVolume(volume *corev1.Volume) bool {
	source := volume.VolumeSource
	return source.EmptyDir != nil || source.Secret != nil || source.ConfigMap != nil || source.Projected != nil || source.DownwardAPI != nil
}

package main

import (
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func waiting(reason, message string) corev1.ContainerState {
	return corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: message}}
}

func failedStart(code int32, reason, message string) corev1.ContainerState {
	now := metav1.Now()
	return corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{
		ExitCode: code, Reason: reason, Message: message, StartedAt: now, FinishedAt: now,
	}}
}

// status composes a pod's status as a kubelet does for `restartPolicy: Never`. The caller holds the mutex.
func (pod *Pod) status() *corev1.PodStatus {
	status := &corev1.PodStatus{
		Phase:     pod.phase(),
		Reason:    pod.reason,
		Message:   pod.message,
		HostIP:    podIP,
		HostIPs:   []corev1.HostIP{{IP: podIP}},
		PodIP:     podIP,
		PodIPs:    []corev1.PodIP{{IP: podIP}},
		StartTime: &metav1.Time{Time: pod.start},
	}
	incomplete, unready := []string{}, []string{}
	for _, container := range pod.object.Spec.InitContainers {
		entry := pod.containerStatus(&container)
		done := entry.State.Terminated != nil && entry.State.Terminated.ExitCode == 0
		entry.Ready = done
		if !done {
			incomplete = append(incomplete, container.Name)
		}
		status.InitContainerStatuses = append(status.InitContainerStatuses, entry)
	}
	for _, container := range pod.object.Spec.Containers {
		entry := pod.containerStatus(&container)
		if !entry.Ready {
			unready = append(unready, container.Name)
		}
		status.ContainerStatuses = append(status.ContainerStatuses, entry)
	}
	reason, message := "ContainersNotReady", fmt.Sprintf("containers with unready status: %v", unready)
	if status.Phase == corev1.PodSucceeded {
		reason, message = "PodCompleted", ""
	}
	ready := len(unready) == 0
	status.Conditions = []corev1.PodCondition{
		condition(corev1.PodReadyToStartContainers, !pod.ended(), "", ""),
		condition(corev1.PodInitialized, len(incomplete) == 0, "ContainersNotInitialized",
			fmt.Sprintf("containers with incomplete status: %v", incomplete)),
		condition(corev1.PodReady, ready, reason, message),
		condition(corev1.ContainersReady, ready, reason, message),
	}
	return status
}

// condition composes a condition; reason and message explain why it does not hold.
func condition(kind corev1.PodConditionType, holds bool, reason, message string) corev1.PodCondition {
	now := metav1.NewTime(time.Now())
	if holds {
		return corev1.PodCondition{Type: kind, Status: corev1.ConditionTrue, LastTransitionTime: now}
	}
	return corev1.PodCondition{Type: kind, Status: corev1.ConditionFalse, Reason: reason, Message: message, LastTransitionTime: now}
}

func (pod *Pod) containerStatus(container *corev1.Container) corev1.ContainerStatus {
	state := pod.states[container.Name]
	running := state.Running != nil
	entry := corev1.ContainerStatus{
		Name: container.Name, Image: container.Image, ImageID: container.Image, State: state, Ready: running, Started: &running,
	}
	if pod.started[container.Name] != nil {
		entry.ContainerID = "process://" + string(pod.object.UID) + "-" + container.Name
	} else {
		entry.ImageID = ""
	}
	return entry
}

// ended tells whether no container runs or waits.
func (pod *Pod) ended() bool {
	for _, container := range pod.object.Spec.InitContainers {
		state := pod.states[container.Name]
		if state.Terminated != nil && state.Terminated.ExitCode != 0 {
			return true
		}
	}
	for _, container := range pod.object.Spec.Containers {
		if pod.states[container.Name].Terminated == nil {
			return false
		}
	}
	return true
}

func (pod *Pod) phase() corev1.PodPhase {
	if pod.reason != "" {
		return corev1.PodFailed
	}
	if pod.ended() {
		for _, container := range pod.all() {
			state := pod.states[container.Name]
			if state.Terminated == nil || state.Terminated.ExitCode != 0 {
				return corev1.PodFailed
			}
		}
		return corev1.PodSucceeded
	}
	for _, container := range pod.object.Spec.Containers {
		if state := pod.states[container.Name]; state.Running != nil || state.Terminated != nil {
			return corev1.PodRunning
		}
	}
	return corev1.PodPending
}

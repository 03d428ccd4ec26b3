package main

import (
	"fmt"
	"regexp"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

const systemPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// Images finds what a container sees for the image that it names.
type Images struct {
	registries []string
	patterns   []*regexp.Regexp
	images     []Image
}

func newImages(config *Config) (*Images, error) {
	images := &Images{registries: config.Registries, images: config.Images}
	for _, image := range config.Images {
		pattern, err := regexp.Compile("^(?:" + image.Pattern + ")$")
		if err != nil {
			return nil, fmt.Errorf("pattern of an image: %w", err)
		}
		images.patterns = append(images.patterns, pattern)
	}
	return images, nil
}

func (images *Images) find(reference string) *Image {
	for index, pattern := range images.patterns {
		if pattern.MatchString(reference) {
			return &images.images[index]
		}
	}
	return nil
}

// problem returns why a container's image cannot be had, in the kubelet's words where its registry is known.
func (images *Images) problem(container *corev1.Container) *corev1.ContainerStateWaiting {
	reference := container.Image
	if images.find(reference) != nil {
		return nil
	}
	if strings.Contains(reference, "/../") || strings.ContainsAny(reference, " \t") {
		message := fmt.Sprintf("Failed to apply default image tag %q: couldn't parse image name %q: invalid reference format", reference, reference)
		return &corev1.ContainerStateWaiting{Reason: "InvalidImageName", Message: message}
	}
	for _, registry := range images.registries {
		if strings.HasPrefix(reference, registry+"/") {
			name := strings.SplitN(reference, "@", 2)[0]
			message := fmt.Sprintf("failed to pull and unpack image %q: failed to resolve reference %q: %s: not found", name, name, name)
			return &corev1.ContainerStateWaiting{Reason: "ErrImagePull", Message: "rpc error: code = NotFound desc = " + message}
		}
	}
	message := fmt.Sprintf("jobs run as processes: image %q needs real pods; the platform's own runner image runs here", reference)
	return &corev1.ContainerStateWaiting{Reason: "ErrImagePull", Message: message}
}

package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

const (
	defaultMode = int32(0o644)
	// renewAt is the share of a token's life after which a kubelet renews it.
	renewAt = 0.8
)

// Volumes are the folders of one pod's volumes.
type Volumes struct {
	cluster *Cluster
	pod     *corev1.Pod
	podIP   string
	folder  string
	// Renew is when the first token wants to be renewed; zero without tokens.
	renew time.Time
}

// write makes the folders of all volumes, and writes files anew.
func (volumes *Volumes) write(ctx context.Context) error {
	volumes.renew = time.Time{}
	for index := range volumes.pod.Spec.Volumes {
		volume := &volumes.pod.Spec.Volumes[index]
		if err := os.MkdirAll(volumes.path(volume.Name), 0o777); err != nil {
			return err
		}
		if err := os.Chmod(volumes.path(volume.Name), 0o777); err != nil {
			return err
		}
		if err := volumes.fill(ctx, volume); err != nil {
			return fmt.Errorf("MountVolume.SetUp failed for volume %q : %w", volume.Name, err)
		}
	}
	return nil
}

func (volumes *Volumes) path(name string) string { return filepath.Join(volumes.folder, name) }

func (volumes *Volumes) fill(ctx context.Context, volume *corev1.Volume) error {
	switch {
	case volume.Secret != nil:
		source := volume.Secret
		data, err := volumes.secretData(ctx, source.SecretName, isTrue(source.Optional))
		if err != nil {
			return err
		}
		return volumes.writeKeys(volume.Name, data, source.Items, mode(source.DefaultMode), isTrue(source.Optional))
	case volume.ConfigMap != nil:
		source := volume.ConfigMap
		data, err := volumes.configMapData(ctx, source.Name, isTrue(source.Optional))
		if err != nil {
			return err
		}
		return volumes.writeKeys(volume.Name, data, source.Items, mode(source.DefaultMode), isTrue(source.Optional))
	case volume.DownwardAPI != nil:
		return volumes.writeFields(volume.Name, volume.DownwardAPI.Items, mode(volume.DownwardAPI.DefaultMode))
	case volume.Projected != nil:
		for index := range volume.Projected.Sources {
			if err := volumes.project(ctx, volume.Name, &volume.Projected.Sources[index], mode(volume.Projected.DefaultMode)); err != nil {
				return err
			}
		}
	}
	return nil
}

func (volumes *Volumes) project(ctx context.Context, name string, source *corev1.VolumeProjection, fileMode int32) error {
	switch {
	case source.ServiceAccountToken != nil:
		return volumes.writeToken(ctx, name, source.ServiceAccountToken, fileMode)
	case source.Secret != nil:
		optional := isTrue(source.Secret.Optional)
		data, err := volumes.secretData(ctx, source.Secret.Name, optional)
		if err != nil {
			return err
		}
		return volumes.writeKeys(name, data, source.Secret.Items, fileMode, optional)
	case source.ConfigMap != nil:
		optional := isTrue(source.ConfigMap.Optional)
		data, err := volumes.configMapData(ctx, source.ConfigMap.Name, optional)
		if err != nil {
			return err
		}
		return volumes.writeKeys(name, data, source.ConfigMap.Items, fileMode, optional)
	case source.DownwardAPI != nil:
		return volumes.writeFields(name, source.DownwardAPI.Items, fileMode)
	}
	return fmt.Errorf("jobs run as processes: this source of a projected volume needs real pods")
}

func (volumes *Volumes) writeToken(ctx context.Context, name string, source *corev1.ServiceAccountTokenProjection, fileMode int32) error {
	answer, err := volumes.cluster.token(ctx, volumes.pod, source)
	if err != nil {
		return fmt.Errorf("failed to fetch token: %w", err)
	}
	life := time.Until(answer.Status.ExpirationTimestamp.Time)
	renew := time.Now().Add(time.Duration(float64(life) * renewAt))
	if volumes.renew.IsZero() || renew.Before(volumes.renew) {
		volumes.renew = renew
	}
	return volumes.writeFile(name, source.Path, []byte(answer.Status.Token), fileMode)
}

func (volumes *Volumes) secretData(ctx context.Context, name string, optional bool) (map[string][]byte, error) {
	secret, err := volumes.cluster.secret(ctx, volumes.pod.Namespace, name)
	if apierrors.IsNotFound(err) && optional {
		return nil, nil
	}
	return secret.Data, err
}

func (volumes *Volumes) configMapData(ctx context.Context, name string, optional bool) (map[string][]byte, error) {
	configMap, err := volumes.cluster.configMap(ctx, volumes.pod.Namespace, name)
	if apierrors.IsNotFound(err) && optional {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	data := map[string][]byte{}
	for key, text := range configMap.Data {
		data[key] = []byte(text)
	}
	for key, content := range configMap.BinaryData {
		data[key] = content
	}
	return data, nil
}

func (volumes *Volumes) writeKeys(name string, data map[string][]byte, items []corev1.KeyToPath, fileMode int32, optional bool) error {
	if items == nil {
		for key, content := range data {
			if err := volumes.writeFile(name, key, content, fileMode); err != nil {
				return err
			}
		}
		return nil
	}
	for _, item := range items {
		content, present := data[item.Key]
		if !present {
			if optional {
				continue
			}
			return fmt.Errorf("references non-existent key: %s", item.Key)
		}
		own := fileMode
		if item.Mode != nil {
			own = *item.Mode
		}
		if err := volumes.writeFile(name, item.Path, content, own); err != nil {
			return err
		}
	}
	return nil
}

func (volumes *Volumes) writeFields(name string, items []corev1.DownwardAPIVolumeFile, fileMode int32) error {
	for _, item := range items {
		text, err := fieldText(volumes.pod, volumes.podIP, item.FieldRef, item.ResourceFieldRef, "")
		if err != nil {
			return err
		}
		own := fileMode
		if item.Mode != nil {
			own = *item.Mode
		}
		if err := volumes.writeFile(name, item.Path, []byte(text), own); err != nil {
			return err
		}
	}
	return nil
}

// writeFile replaces a file, so that a reader sees the old content or the new one.
func (volumes *Volumes) writeFile(name, path string, content []byte, fileMode int32) error {
	if !filepath.IsLocal(path) {
		return fmt.Errorf("path %q leaves the volume", path)
	}
	file := filepath.Join(volumes.path(name), path)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	draft := filepath.Join(filepath.Dir(file), "."+filepath.Base(file)+".new")
	_ = os.Remove(draft)
	if err := os.WriteFile(draft, content, 0o600); err != nil {
		return err
	}
	if err := os.Chmod(draft, os.FileMode(fileMode)&os.ModePerm); err != nil {
		return err
	}
	return os.Rename(draft, file)
}

// binds returns where a container sees its volumes.
func (volumes *Volumes) binds(container *corev1.Container, variables map[string]string) ([]Bind, error) {
	binds := make([]Bind, 0, len(container.VolumeMounts))
	for _, mount := range container.VolumeMounts {
		inner := mount.SubPath
		if mount.SubPathExpr != "" {
			inner = expand(mount.SubPathExpr, variables)
		}
		if inner != "" && !filepath.IsLocal(inner) {
			return nil, fmt.Errorf("subPath %q leaves volume %q", inner, mount.Name)
		}
		source := filepath.Join(volumes.path(mount.Name), inner)
		if _, err := os.Stat(source); err != nil {
			if err := os.MkdirAll(source, 0o777); err != nil {
				return nil, err
			}
		}
		readOnly := mount.ReadOnly || volumes.alwaysReadOnly(mount.Name)
		binds = append(binds, Bind{Source: source, Target: "/" + strings.Trim(mount.MountPath, "/"), ReadOnly: readOnly})
	}
	return binds, nil
}

// alwaysReadOnly: containers cannot write Secrets, ConfigMaps and projected volumes.
func (volumes *Volumes) alwaysReadOnly(name string) bool {
	for _, volume := range volumes.pod.Spec.Volumes {
		if volume.Name == name {
			return volume.EmptyDir == nil
		}
	}
	return true
}

func mode(given *int32) int32 {
	if given == nil {
		return defaultMode
	}
	return *given
}

func isTrue(value *bool) bool { return value != nil && *value }

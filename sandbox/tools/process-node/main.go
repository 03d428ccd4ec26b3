// Process-node plays the kubelet for job pods on a machine without container tools.
//
// It watches the pods that the sandbox marked for it, and runs each of their containers as a process in a user, mount
// and process namespace of its own: the host's programs are read-only, the pod's volumes are at their paths, and the
// environment is the container's. It needs no root and no container runtime. It is no security boundary: limits,
// network policies and seccomp profiles are not enforced.
//
// Arguments: FILE with the configuration (see Config) to run; `check FILE` to try one container and say what stops it.
// Two further commands, `container` and `program`, are for its own children.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"

	"k8s.io/klog/v2"
)

const (
	containerCommand = "container"
	programCommand   = "program"
)

// Config is what one node needs to know; paths are absolute.
type Config struct {
	// Kubeconfig reaches the cluster as an administrator.
	Kubeconfig string
	// Folder is for volumes, root folders and logs of pods; emptied at the start and at the end.
	Folder string
	// Authority is the file with the authority that signs the API server's client certificate.
	Authority string
	// Client is the common name in that certificate.
	Client string
	// Programs are folders of the host that every container may read.
	Programs []string
	// Registries are hosts whose images are known: an image that Images lacks does not exist there.
	Registries []string
	// Images are the images that containers may name.
	Images []Image
}

// Image is what a container sees of an image.
type Image struct {
	// Pattern is a regular expression for the whole reference.
	Pattern string
	// Environment is the image's own; a container's variables win.
	Environment map[string]string
	// User is the image's user; a security context wins.
	User int64
	// WorkingDir is where the program starts unless the container says otherwise.
	WorkingDir string `json:"working_dir"`
	// Files has texts by path.
	Files map[string]string
	// Folders has the host's folder or file by path.
	Folders map[string]string
}

func main() {
	if len(os.Args) == 2 && os.Args[1] == containerCommand {
		fail(containerMain())
	} else if len(os.Args) == 2 && os.Args[1] == programCommand {
		fail(programMain())
	} else if len(os.Args) == 3 && os.Args[1] == "check" {
		fail(withConfig(os.Args[2], check))
	} else if len(os.Args) == 2 {
		fail(withConfig(os.Args[1], serve))
	} else {
		fail(fmt.Errorf("usage: %s [check] CONFIGURATION", os.Args[0]))
	}
}

func fail(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func withConfig(file string, run func(*Config) error) error {
	flags := flag.NewFlagSet("", flag.ContinueOnError)
	klog.InitFlags(flags)
	_ = flags.Set("stderrthreshold", "FATAL")
	klog.SetOutput(io.Discard)
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	config := &Config{}
	if err := json.Unmarshal(text, config); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	return run(config)
}

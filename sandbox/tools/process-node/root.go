package main

import (
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"sort"
	"strings"

	"golang.org/x/sys/unix"
)

// systemFolders are the folders of the host that a container sees as its image's own, read-only. Everything else, such
// as home folders and sockets below /run, is absent.
var systemFolders = []string{"/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/usr", "/etc", "/opt", "/nix"}

// hidden are files of the host that no program of a job needs.
var hidden = []string{"/etc/shadow", "/etc/shadow-", "/etc/gshadow", "/etc/gshadow-", "/etc/sudoers", "/etc/sudoers.d"}

// manyEntries is the number of entries above which a folder that gets further files becomes an overlay.
const manyEntries = 100

// extraFiles is the folder in a container's root folder with the further files of overlays.
const extraFiles = "/.sandbox/extra"

var devices = []string{"null", "zero", "full", "random", "urandom", "tty"}

// buildRoot makes the container's root folder and changes to it. The host stays at oldRoot until finishRoot.
func buildRoot(plan *Plan) error {
	if err := unix.Sethostname([]byte(plan.Hostname)); err != nil {
		return fmt.Errorf("set the host name: %w", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	if err := unix.Mount(plan.Root, plan.Root, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("mount the root folder: %w", err)
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	binds := append(slices.Clone(plan.Binds), Bind{Source: self, Target: innerProgram, ReadOnly: true})
	builder := &rootBuilder{root: plan.Root, opened: openedFolders(plan), plan: plan, overlaid: map[string]bool{}}
	steps := []func() error{
		builder.system,
		builder.devices,
		func() error { return builder.folders(plan.Folders) },
		func() error { return builder.files(plan.Files) },
		func() error { return builder.binds(binds) },
		func() error { return builder.change() },
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return fmt.Errorf("build the root folder: %w", err)
		}
	}
	return nil
}

type rootBuilder struct {
	root     string
	plan     *Plan
	opened   map[string]bool
	overlaid map[string]bool
}

// openedFolders returns the folders of the host that get further entries: they are made anew, with each entry of the
// host mounted alone.
func openedFolders(plan *Plan) map[string]bool {
	targets := make([]string, 0, len(plan.Binds)+len(plan.Files))
	for _, bind := range plan.Binds {
		targets = append(targets, bind.Target)
	}
	for target := range plan.Files {
		targets = append(targets, target)
	}
	opened := map[string]bool{"/etc": true}
	for _, target := range targets {
		for folder := path.Dir(path.Clean(target)); folder != "/"; folder = path.Dir(folder) {
			opened[folder] = true
		}
	}
	return opened
}

func (builder *rootBuilder) path(inside string) string { return filepath.Join(builder.root, inside) }

func (builder *rootBuilder) system() error {
	for _, folder := range []string{"/tmp", "/var/tmp", "/run", "/proc", "/sys", "/dev", "/home", "/root", oldRoot} {
		if err := os.MkdirAll(builder.path(folder), 0o755); err != nil {
			return err
		}
	}
	for _, folder := range []string{"/tmp", "/var/tmp"} {
		if err := os.Chmod(builder.path(folder), 0o777|os.ModeSticky); err != nil {
			return err
		}
	}
	for _, folder := range systemFolders {
		if err := builder.mirror(folder); err != nil {
			return err
		}
	}
	return builder.bind(Bind{Source: "/sys", Target: "/sys", ReadOnly: true})
}

// mirror shows an entry of the host at the same path.
func (builder *rootBuilder) mirror(entry string) error {
	information, err := os.Lstat(entry)
	if err != nil || slices.Contains(hidden, entry) {
		return nil
	}
	switch {
	case information.Mode()&os.ModeSymlink != 0:
		target, err := os.Readlink(entry)
		if err != nil {
			return nil
		}
		return os.Symlink(target, builder.path(entry))
	case information.IsDir() && builder.opened[entry]:
		return builder.mirrorEntries(entry)
	case information.IsDir() || information.Mode().IsRegular():
		return builder.bind(Bind{Source: entry, Target: entry, ReadOnly: true})
	}
	return nil
}

func (builder *rootBuilder) mirrorEntries(folder string) error {
	if err := os.MkdirAll(builder.path(folder), 0o755); err != nil {
		return err
	}
	entries, err := os.ReadDir(folder)
	if err != nil {
		return nil // the person may not read it, so a job need not
	}
	if len(entries) > manyEntries && builder.overlay(folder) == nil {
		return nil
	}
	for _, entry := range entries {
		if err := builder.mirror(path.Join(folder, entry.Name())); err != nil {
			return err
		}
	}
	return nil
}

// overlay shows a folder of the host with further files in one mount, where mounts of single entries would take a second.
// It fails where the kernel has no overlays for everybody, and for further folders.
func (builder *rootBuilder) overlay(folder string) error {
	extra := builder.path(extraFiles + folder)
	if err := os.MkdirAll(extra, 0o755); err != nil {
		return err
	}
	for _, bind := range builder.plan.Binds {
		if path.Dir(path.Clean(bind.Target)) != folder {
			continue
		}
		if information, err := os.Stat(bind.Source); err != nil || information.IsDir() {
			return fmt.Errorf("%s is no file", bind.Source)
		}
		if err := makeMountPoint(filepath.Join(extra, path.Base(bind.Target)), false); err != nil {
			return err
		}
	}
	for name, text := range builder.plan.Files {
		if path.Dir(path.Clean(name)) != folder {
			continue
		}
		if err := writeFile(filepath.Join(extra, path.Base(name)), text); err != nil {
			return err
		}
	}
	for opened := range builder.opened {
		if path.Dir(opened) == folder {
			return fmt.Errorf("%s gets further entries", opened)
		}
	}
	options := "lowerdir=" + extra + ":" + folder
	if err := unix.Mount("overlay", builder.path(folder), "overlay", unix.MS_RDONLY, options); err != nil {
		return err
	}
	builder.overlaid[folder] = true
	return nil
}

func writeFile(file, text string) error {
	mode := os.FileMode(0o644)
	if strings.HasPrefix(text, "#!") {
		mode = 0o755
	}
	return os.WriteFile(file, []byte(text), mode)
}

func (builder *rootBuilder) devices() error {
	for _, name := range devices {
		device := "/dev/" + name
		if err := builder.bind(Bind{Source: device, Target: device}); err != nil {
			return err
		}
	}
	links := map[string]string{
		"ptmx": "pts/ptmx", "fd": "/proc/self/fd", "stdin": "/proc/self/fd/0",
		"stdout": "/proc/self/fd/1", "stderr": "/proc/self/fd/2",
	}
	for name, target := range links {
		if err := os.Symlink(target, builder.path("/dev/"+name)); err != nil {
			return err
		}
	}
	for _, folder := range []string{"/dev/pts", "/dev/shm"} {
		if err := os.MkdirAll(builder.path(folder), 0o755); err != nil {
			return err
		}
	}
	if err := unix.Mount("devpts", builder.path("/dev/pts"), "devpts", 0, "newinstance,ptmxmode=0666,mode=0620"); err != nil {
		return fmt.Errorf("mount /dev/pts: %w", err)
	}
	if err := unix.Mount("shm", builder.path("/dev/shm"), "tmpfs", 0, "mode=1777"); err != nil {
		return fmt.Errorf("mount /dev/shm: %w", err)
	}
	return nil
}

func (builder *rootBuilder) folders(folders []string) error {
	for _, folder := range folders {
		if err := os.MkdirAll(builder.path(folder), 0o755); err != nil {
			return err
		}
	}
	return nil
}

func (builder *rootBuilder) files(files map[string]string) error {
	for name, text := range files {
		if builder.overlaid[path.Dir(path.Clean(name))] {
			continue // written already
		}
		file := builder.path(name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			return err
		}
		// A file of the host may be mounted here, or a link to one.
		_ = unix.Unmount(file, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
		_ = os.Remove(file)
		if err := writeFile(file, text); err != nil {
			return err
		}
	}
	return nil
}

// binds mounts outer folders before those inside them.
func (builder *rootBuilder) binds(binds []Bind) error {
	sort.SliceStable(binds, func(first, second int) bool {
		return strings.Count(path.Clean(binds[first].Target), "/") < strings.Count(path.Clean(binds[second].Target), "/")
	})
	for _, bind := range binds {
		if err := builder.bind(bind); err != nil {
			return err
		}
	}
	return nil
}

func (builder *rootBuilder) bind(bind Bind) error {
	information, err := os.Stat(bind.Source)
	if err != nil {
		return err
	}
	target := builder.path(bind.Target)
	if err := makeMountPoint(target, information.IsDir()); err != nil {
		return err
	}
	if err := unix.Mount(bind.Source, target, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("mount %s at %s: %w", bind.Source, bind.Target, err)
	}
	if !bind.ReadOnly {
		return nil
	}
	attributes := &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}
	if err := unix.MountSetattr(unix.AT_FDCWD, target, unix.AT_RECURSIVE, attributes); err != nil {
		return fmt.Errorf("make %s read-only: %w", bind.Target, err)
	}
	return nil
}

func makeMountPoint(target string, isFolder bool) error {
	if information, err := os.Lstat(target); err == nil {
		if information.Mode()&os.ModeSymlink == 0 {
			return nil
		}
		if err := os.Remove(target); err != nil {
			return err
		}
	}
	if isFolder {
		return os.MkdirAll(target, 0o755)
	}
	if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
		return err
	}
	file, err := os.OpenFile(target, os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	return file.Close()
}

// change makes the new folder the root of this process.
func (builder *rootBuilder) change() error {
	if err := unix.PivotRoot(builder.root, builder.path(oldRoot)); err != nil {
		return fmt.Errorf("change the root folder: %w", err)
	}
	return os.Chdir("/")
}

// finishRoot mounts /proc for the process namespace that the caller is in, and removes the host.
//
// The kernel allows a new /proc only beside one that is wholly visible; where a container hides parts of it (as Docker
// does), the host's is shown instead.
func finishRoot() error {
	if err := unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		if err := unix.Mount(oldRoot+"/proc", "/proc", "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
			return fmt.Errorf("mount /proc: %w", err)
		}
	}
	for _, name := range []string{"/proc/sys", "/proc/sysrq-trigger", "/proc/irq", "/proc/bus"} {
		if _, err := os.Stat(name); err != nil {
			continue
		}
		if err := unix.Mount(name, name, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
			return fmt.Errorf("mount %s: %w", name, err)
		}
		attributes := &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}
		if err := unix.MountSetattr(unix.AT_FDCWD, name, unix.AT_RECURSIVE, attributes); err != nil {
			return fmt.Errorf("make %s read-only: %w", name, err)
		}
	}
	if err := unix.Unmount(oldRoot, unix.MNT_DETACH); err != nil {
		return fmt.Errorf("remove the host's root folder: %w", err)
	}
	return nil
}

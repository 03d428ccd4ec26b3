package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// A container is three processes. The node starts `container` in new user and mount namespaces. That one builds the
// root folder and starts `program` in a new process namespace, where it becomes the container's command, number 1.
// When number 1 ends, the kernel kills every process of its namespace; when `container` or the node is killed, number 1
// is, too. `container` stays to start the commands of `kubectl exec` in the same namespaces.

const (
	controlDescriptor = 3
	planDescriptor    = 4
	// Files of the node inside a container's root folder.
	innerProgram = "/.sandbox/process-node"
	oldRoot      = "/.sandbox/host"
)

// Plan is what `container` builds and runs.
type Plan struct {
	Root     string
	Hostname string
	Binds    []Bind
	Files    map[string]string
	Folders  []string
	Command  Command
}

// Bind is a folder or file of the host at a path of the container.
type Bind struct {
	Source, Target string
	ReadOnly       bool
}

// Command is a program to become.
type Command struct {
	Arguments     []string
	Environment   []string
	Folder        string
	Terminal      bool
	Capabilities  []int
	NoPrivileges  bool
	First         bool
	CommandStatus string `json:",omitempty"`
}

// Message goes between the node and `container`, one JSON document a packet.
type Message struct {
	// From the node: number of a command to start, with its descriptors; or a signal for the first program.
	Command int            `json:",omitempty"`
	Signal  syscall.Signal `json:",omitempty"`
	// From `container`: the command (0: the first program) started, could not start, or ended.
	Started bool   `json:",omitempty"`
	Error   string `json:",omitempty"`
	Ended   bool   `json:",omitempty"`
	Code    int    `json:",omitempty"`
	Number  int    `json:",omitempty"`
}

// containerProcess returns `container`, ready to start, for a user of the container.
//
// The only user in the new namespace is the caller, under the number that the container expects.
func containerProcess(user int) (*exec.Cmd, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	process := exec.Command(self, containerCommand)
	process.Dir = "/"
	process.Env = []string{"GOMAXPROCS=2"}
	process.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS | syscall.CLONE_NEWUTS | syscall.CLONE_NEWIPC,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: user, HostID: os.Geteuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: user, HostID: os.Getegid(), Size: 1}},
		AmbientCaps: []uintptr{unix.CAP_SYS_ADMIN, unix.CAP_SYS_CHROOT, unix.CAP_SETPCAP, unix.CAP_DAC_OVERRIDE},
		Pdeathsig:   syscall.SIGKILL,
		Setsid:      true,
	}
	return process, nil
}

// containerMain builds the root folder, runs the first program, and starts further commands until that one ends.
func containerMain() error {
	runtime.LockOSThread() // number 1 must not outlive the thread that started it
	signal.Ignore(syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	control, err := net.FileConn(os.NewFile(controlDescriptor, "control"))
	if err != nil {
		return err
	}
	connection := control.(*net.UnixConn)
	plan := &Plan{}
	input := os.NewFile(planDescriptor, "plan")
	if err := json.NewDecoder(input).Decode(plan); err != nil {
		return fmt.Errorf("plan: %w", err)
	}
	_ = input.Close()
	if err := buildRoot(plan); err != nil {
		return send(connection, Message{Error: err.Error()})
	}
	plan.Command.First = true
	first, err := start(plan.Command, []*os.File{os.Stdin, os.Stdout, os.Stderr}, syscall.CLONE_NEWPID)
	if err != nil {
		return send(connection, Message{Error: err.Error()})
	}
	_ = os.Stdin.Close()
	_ = os.Stdout.Close()
	_ = os.Stderr.Close()
	if err := send(connection, Message{Started: true}); err != nil {
		return err
	}
	go receive(connection, plan, first)
	code := wait(first)
	return send(connection, Message{Ended: true, Code: code})
}

func receive(connection *net.UnixConn, plan *Plan, first *exec.Cmd) {
	var group sync.WaitGroup
	for {
		message, files, err := read(connection)
		if err != nil {
			return
		}
		if message.Signal != 0 {
			_ = first.Process.Signal(message.Signal)
			continue
		}
		group.Add(1)
		go func() {
			defer group.Done()
			runCommand(connection, message, files, first)
		}()
	}
}

// runCommand runs a command of `kubectl exec` in the first program's process namespace.
func runCommand(connection *net.UnixConn, message Message, files []*os.File, first *exec.Cmd) {
	// The thread is in another process namespace afterwards: it is locked, ends with this function, and no other
	// goroutine gets it.
	runtime.LockOSThread()
	number := message.Command
	defer func() {
		for _, file := range files {
			_ = file.Close()
		}
	}()
	process, err := enter(files, first)
	if err != nil {
		_ = send(connection, Message{Number: number, Error: err.Error()})
		return
	}
	for _, file := range files {
		_ = file.Close()
	}
	files = nil
	_ = send(connection, Message{Number: number, Started: true})
	_ = send(connection, Message{Number: number, Ended: true, Code: wait(process)})
}

func enter(files []*os.File, first *exec.Cmd) (*exec.Cmd, error) {
	if len(files) != 4 {
		return nil, fmt.Errorf("%d descriptors instead of 4", len(files))
	}
	command := Command{}
	if err := json.NewDecoder(files[3]).Decode(&command); err != nil {
		return nil, fmt.Errorf("command: %w", err)
	}
	descriptor, err := unix.PidfdOpen(first.Process.Pid, 0)
	if err != nil {
		return nil, fmt.Errorf("the container's first process ended: %w", err)
	}
	defer unix.Close(descriptor)
	if err := unix.Setns(descriptor, unix.CLONE_NEWPID); err != nil {
		return nil, fmt.Errorf("enter the process namespace: %w", err)
	}
	return start(command, files[:3], 0)
}

// start runs `program` in the container's root folder, and returns once it became the command.
func start(command Command, files []*os.File, flags uintptr) (*exec.Cmd, error) {
	planReader, planWriter, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	statusReader, statusWriter, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer statusReader.Close()
	process := exec.Command(innerProgram, programCommand)
	process.Env = []string{"GOMAXPROCS=1"}
	process.Stdin, process.Stdout, process.Stderr = files[0], files[1], files[2]
	process.ExtraFiles = []*os.File{planReader, statusWriter}
	process.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: flags,
		Setsid:     true,
		Setctty:    command.Terminal,
		// No Pdeathsig: Go would see another process namespace as a dead parent. `program` sets it.
		// It gives these up:
		AmbientCaps: []uintptr{unix.CAP_SYS_ADMIN, unix.CAP_SETPCAP},
	}
	err = process.Start()
	_ = planReader.Close()
	_ = statusWriter.Close()
	if err != nil {
		_ = planWriter.Close()
		return nil, fmt.Errorf("start %s: %w", innerProgram, err)
	}
	_ = json.NewEncoder(planWriter).Encode(command)
	_ = planWriter.Close()
	problem := make([]byte, 4096)
	if count, _ := statusReader.Read(problem); count > 0 {
		_ = process.Wait()
		return nil, errors.New(string(problem[:count]))
	}
	return process, nil
}

// wait returns a process's exit code as a container runtime does: 128 and the signal's number after a signal.
func wait(process *exec.Cmd) int {
	_ = process.Wait()
	status, ok := process.ProcessState.Sys().(syscall.WaitStatus)
	if ok && status.Signaled() {
		return 128 + int(status.Signal())
	}
	return process.ProcessState.ExitCode()
}

// programMain finishes the root folder, gives up privileges, and becomes the command.
func programMain() error {
	runtime.LockOSThread() // privileges belong to a thread
	unix.CloseOnExec(controlDescriptor)
	unix.CloseOnExec(planDescriptor)
	status := os.NewFile(planDescriptor, "status")
	command := Command{}
	if err := json.NewDecoder(os.NewFile(controlDescriptor, "command")).Decode(&command); err != nil {
		fmt.Fprintf(status, "command: %v", err)
		return err
	}
	if err := become(command); err != nil {
		fmt.Fprint(status, err)
		return err
	}
	return nil
}

func become(command Command) error {
	if command.First {
		if err := finishRoot(); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(command.Folder, 0o755); err != nil {
		return fmt.Errorf("working directory: %w", err)
	}
	if err := os.Chdir(command.Folder); err != nil {
		return fmt.Errorf("working directory: %w", err)
	}
	path, err := lookUp(command)
	if err != nil {
		return err
	}
	if err := dropCapabilities(command.Capabilities); err != nil {
		return fmt.Errorf("give up capabilities: %w", err)
	}
	if command.NoPrivileges {
		if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
			return err
		}
	}
	// A change of capabilities may have cleared it.
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0); err != nil {
		return err
	}
	unix.Umask(0o022)
	err = unix.Exec(path, command.Arguments, command.Environment)
	return fmt.Errorf("exec %q: %w", command.Arguments[0], err)
}

func lookUp(command Command) (string, error) {
	os.Clearenv()
	for _, variable := range command.Environment {
		for index := range variable {
			if variable[index] == '=' {
				_ = os.Setenv(variable[:index], variable[index+1:])
				break
			}
		}
	}
	path, err := exec.LookPath(command.Arguments[0])
	if err != nil {
		return "", fmt.Errorf("exec: %q: executable file not found in $PATH", command.Arguments[0])
	}
	return filepath.Abs(path)
}

// dropCapabilities leaves only these in every set that a program inherits.
func dropCapabilities(kept []int) error {
	if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0); err != nil {
		return err
	}
	sets := [2]unix.CapUserData{}
	for _, capability := range kept {
		sets[capability/32].Permitted |= 1 << (capability % 32)
	}
	for capability := 0; capability <= unix.CAP_LAST_CAP; capability++ {
		if sets[capability/32].Permitted&(1<<(capability%32)) == 0 {
			err := unix.Prctl(unix.PR_CAPBSET_DROP, uintptr(capability), 0, 0, 0)
			if err != nil && !errors.Is(err, unix.EINVAL) {
				return err
			}
		}
	}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	present := [2]unix.CapUserData{}
	if err := unix.Capget(&header, &present[0]); err != nil {
		return err
	}
	for index := range sets {
		sets[index].Permitted &= present[index].Permitted
		sets[index].Effective = sets[index].Permitted
		sets[index].Inheritable = 0
	}
	return unix.Capset(&header, &sets[0])
}

// send writes one message; files go along.
func send(connection *net.UnixConn, message Message, files ...*os.File) error {
	text, err := json.Marshal(message)
	if err != nil {
		return err
	}
	descriptors := make([]int, 0, len(files))
	for _, file := range files {
		descriptors = append(descriptors, int(file.Fd()))
	}
	var rights []byte
	if len(descriptors) > 0 {
		rights = unix.UnixRights(descriptors...)
	}
	_, _, err = connection.WriteMsgUnix(text, rights, nil)
	return err
}

// read returns one message with its files.
func read(connection *net.UnixConn) (Message, []*os.File, error) {
	text, rights := make([]byte, 8192), make([]byte, unix.CmsgSpace(4*8))
	count, size, _, _, err := connection.ReadMsgUnix(text, rights)
	if err != nil {
		return Message{}, nil, err
	}
	message := Message{}
	if err := json.Unmarshal(text[:count], &message); err != nil {
		return message, nil, err
	}
	messages, err := unix.ParseSocketControlMessage(rights[:size])
	if err != nil {
		return message, nil, err
	}
	var files []*os.File
	for index := range messages {
		descriptors, err := unix.ParseUnixRights(&messages[index])
		if err != nil {
			return message, nil, err
		}
		for _, descriptor := range descriptors {
			unix.CloseOnExec(descriptor)
			files = append(files, os.NewFile(uintptr(descriptor), "passed-"+strconv.Itoa(descriptor)))
		}
	}
	return message, files, nil
}

// socketPair returns the two ends of a connection that keeps packets apart.
func socketPair() (*net.UnixConn, *os.File, error) {
	ends, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, err
	}
	own := os.NewFile(uintptr(ends[0]), "control")
	defer own.Close()
	connection, err := net.FileConn(own)
	if err != nil {
		return nil, nil, err
	}
	return connection.(*net.UnixConn), os.NewFile(uintptr(ends[1]), "control"), nil
}

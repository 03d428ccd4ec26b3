package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
	"k8s.io/client-go/tools/remotecommand"
)

// Container is one running or ended container of a pod.
type Container struct {
	process  *exec.Cmd
	control  *net.UnixConn
	log      *Log
	terminal *os.File

	input     io.WriteCloser
	inputOnce bool

	mutex    sync.Mutex
	waiting  map[int]chan Message
	commands int
	problem  string

	// Ended is closed when the last process of the container ended.
	ended    chan struct{}
	code     int
	started  time.Time
	finished time.Time
}

// startRequests runs functions on one thread that lives as long as the node: a child dies with the thread that
// started it.
var startRequests = make(chan func())

func init() {
	go func() {
		runtime.LockOSThread()
		for request := range startRequests {
			request()
		}
	}()
}

// startContainer starts a container and returns once its program runs.
//
// It keeps standard input open if hasInput, until the first attached client ends if inputOnce.
func startContainer(plan *Plan, user int, log *Log, hasInput, inputOnce bool) (*Container, error) {
	process, err := containerProcess(user)
	if err != nil {
		return nil, err
	}
	container := &Container{
		process: process, log: log, inputOnce: inputOnce, waiting: map[int]chan Message{}, ended: make(chan struct{}),
	}
	files, err := container.streams(plan, hasInput)
	if err != nil {
		return nil, err
	}
	control, other, err := socketPair()
	if err != nil {
		return nil, err
	}
	planReader, planWriter, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	container.control = control
	process.ExtraFiles = []*os.File{other, planReader}
	done := make(chan error)
	startRequests <- func() { done <- process.Start() }
	err = <-done
	closeAll(append(files, other, planReader)...)
	if err != nil {
		closeAll(planWriter)
		return nil, namespaceError(err)
	}
	started := container.expect(0)
	go container.receive()
	_ = json.NewEncoder(planWriter).Encode(plan)
	closeAll(planWriter)
	message, ok := <-started
	if !ok || message.Error != "" {
		<-container.ended
		return nil, errors.New(first(message.Error, container.problem, "it was killed"))
	}
	container.started = time.Now()
	return container, nil
}

// streams prepares the ends of the program's standard streams, and copies what it writes into the log.
func (container *Container) streams(plan *Plan, hasInput bool) ([]*os.File, error) {
	if plan.Command.Terminal {
		terminal, slave, err := openTerminal()
		if err != nil {
			return nil, err
		}
		container.terminal, container.input = terminal, terminal
		container.process.Stdin, container.process.Stdout, container.process.Stderr = slave, slave, slave
		container.log.follow("stdout", terminal)
		return []*os.File{slave}, nil
	}
	outReader, outWriter, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	errReader, errWriter, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	files := []*os.File{outWriter, errWriter}
	container.process.Stdout, container.process.Stderr = outWriter, errWriter
	container.log.follow("stdout", outReader)
	container.log.follow("stderr", errReader)
	if hasInput {
		inReader, inWriter, err := os.Pipe()
		if err != nil {
			return nil, err
		}
		container.process.Stdin, container.input = inReader, inWriter
		files = append(files, inReader)
	}
	return files, nil
}

// receive handles the messages of `container` until it ends.
func (container *Container) receive() {
	code, ended := 137, false
	for {
		message, _, err := read(container.control)
		if err != nil {
			break
		}
		if message.Number == 0 && message.Ended {
			code, ended = message.Code, true
			continue
		}
		if message.Number == 0 && message.Error != "" {
			container.problem = message.Error
		}
		container.mutex.Lock()
		waiting := container.waiting[message.Number]
		container.mutex.Unlock()
		if waiting != nil {
			waiting <- message
		}
	}
	_ = container.process.Wait()
	_ = container.control.Close()
	if !ended && container.problem == "" {
		container.problem = "the container's processes were killed"
	}
	container.log.finish()
	if container.input != nil {
		_ = container.input.Close()
	}
	container.code, container.finished = code, time.Now()
	container.mutex.Lock()
	for _, waiting := range container.waiting {
		close(waiting)
	}
	container.waiting = nil
	container.mutex.Unlock()
	close(container.ended)
}

// expect returns the channel for messages about a command; it is closed when the container ends.
func (container *Container) expect(number int) chan Message {
	channel := make(chan Message, 4)
	container.mutex.Lock()
	defer container.mutex.Unlock()
	if container.waiting == nil {
		close(channel)
	} else {
		container.waiting[number] = channel
	}
	return channel
}

// signal sends a signal to the container's first program.
func (container *Container) signal(number syscall.Signal) {
	_ = send(container.control, Message{Signal: number})
}

// kill ends every process of the container at once.
func (container *Container) kill() {
	container.signal(syscall.SIGKILL)
	select {
	case <-container.ended:
	case <-time.After(2 * time.Second):
		_ = container.process.Process.Kill()
		<-container.ended
	}
}

// run runs a command in the container and returns its exit code.
func (container *Container) run(command Command, input io.Reader, output, errors io.Writer, sizes <-chan remotecommand.TerminalSize) (int, error) {
	container.mutex.Lock()
	container.commands++
	number := container.commands
	container.mutex.Unlock()
	messages := container.expect(number)
	streams, err := commandStreams(command, input, output, errors, sizes)
	if err != nil {
		return 0, err
	}
	planReader, planWriter, err := os.Pipe()
	if err != nil {
		return 0, err
	}
	err = send(container.control, Message{Command: number}, append(streams.passed, planReader)...)
	closeAll(append(streams.passed, planReader)...)
	if err != nil {
		closeAll(planWriter)
		return 0, fmt.Errorf("the container ended")
	}
	_ = json.NewEncoder(planWriter).Encode(command)
	closeAll(planWriter)
	for message := range messages {
		if message.Error != "" {
			streams.close()
			return 0, fmt.Errorf("%s", message.Error)
		}
		if message.Ended {
			streams.wait()
			return message.Code, nil
		}
	}
	streams.close()
	return 137, nil
}

// attach joins a client with the container's streams until the container ends, or until the client's input ends if it
// wants no output.
func (container *Container) attach(input io.Reader, output, errors io.Writer, sizes <-chan remotecommand.TerminalSize) error {
	if container.terminal != nil {
		go resize(container.terminal, sizes)
	}
	detach := container.log.attach(output, errors)
	defer detach()
	inputDone := make(chan struct{})
	if input != nil && container.input != nil {
		go func() {
			_, _ = io.Copy(container.input, input)
			if container.inputOnce {
				_ = container.input.Close()
			}
			close(inputDone)
		}()
	}
	if output == nil && errors == nil {
		select {
		case <-inputDone:
		case <-container.ended:
		}
		return nil
	}
	<-container.ended
	return nil
}

type commandIO struct {
	passed []*os.File
	own    []*os.File
	copies sync.WaitGroup
}

func commandStreams(command Command, input io.Reader, output, errors io.Writer, sizes <-chan remotecommand.TerminalSize) (*commandIO, error) {
	streams := &commandIO{}
	if command.Terminal {
		terminal, slave, err := openTerminal()
		if err != nil {
			return nil, err
		}
		streams.passed = []*os.File{slave, slave, slave}
		streams.own = []*os.File{terminal}
		go resize(terminal, sizes)
		if input != nil {
			go func() { _, _ = io.Copy(terminal, input) }()
		}
		streams.copy(output, terminal)
		return streams, nil
	}
	inReader, inWriter, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	go func() {
		if input != nil {
			_, _ = io.Copy(inWriter, input)
		}
		_ = inWriter.Close()
	}()
	streams.passed, streams.own = []*os.File{inReader}, []*os.File{inWriter}
	for _, writer := range []io.Writer{output, errors} {
		reader, file, err := os.Pipe()
		if err != nil {
			return nil, err
		}
		streams.passed, streams.own = append(streams.passed, file), append(streams.own, reader)
		streams.copy(writer, reader)
	}
	return streams, nil
}

func (streams *commandIO) copy(writer io.Writer, reader io.Reader) {
	if isNil(writer) {
		writer = io.Discard
	}
	streams.copies.Add(1)
	go func() {
		defer streams.copies.Done()
		_, _ = io.Copy(writer, reader)
	}()
}

// wait waits for the output that the command left; a program that it left behind may hold the streams open.
func (streams *commandIO) wait() {
	done := make(chan struct{})
	go func() { streams.copies.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(time.Second):
	}
	streams.close()
}

func (streams *commandIO) close() { closeAll(streams.own...) }

// openTerminal returns both ends of a new terminal.
func openTerminal() (*os.File, *os.File, error) {
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, nil, err
	}
	if err := unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		return nil, nil, err
	}
	number, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err != nil {
		return nil, nil, err
	}
	slave, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, nil, err
	}
	return master, slave, nil
}

func resize(terminal *os.File, sizes <-chan remotecommand.TerminalSize) {
	for size := range sizes {
		window := &unix.Winsize{Row: size.Height, Col: size.Width}
		_ = unix.IoctlSetWinsize(int(terminal.Fd()), unix.TIOCSWINSZ, window)
	}
}

// namespaceError says what to do where the machine refuses user namespaces.
func namespaceError(err error) error {
	if errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EACCES) {
		return fmt.Errorf("this machine does not let you make user namespaces (%w)", err)
	}
	return err
}

func closeAll(files ...*os.File) {
	for _, file := range files {
		_ = file.Close()
	}
}

func first(texts ...string) string {
	for _, text := range texts {
		if text != "" {
			return text
		}
	}
	return ""
}

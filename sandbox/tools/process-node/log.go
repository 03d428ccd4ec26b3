package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"reflect"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// Log keeps what a container writes, line by line in the format of container runtimes, and passes it on to attached
// clients at once.
type Log struct {
	mutex    sync.Mutex
	file     *os.File
	path     string
	clients  map[*client]bool
	partial  map[string][]byte
	changed  chan struct{}
	readers  sync.WaitGroup
	finished bool
}

type client struct {
	output, errors io.Writer
}

const longestLine = 16 * 1024

func newLog(path string) (*Log, error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	return &Log{
		file: file, path: path, clients: map[*client]bool{}, partial: map[string][]byte{}, changed: make(chan struct{}),
	}, nil
}

// follow copies a stream of the container until it ends.
func (log *Log) follow(stream string, source *os.File) {
	log.readers.Add(1)
	go func() {
		defer log.readers.Done()
		defer source.Close()
		block := make([]byte, 32*1024)
		for {
			count, err := source.Read(block)
			if count > 0 {
				log.write(stream, block[:count])
			}
			if err != nil {
				return
			}
		}
	}()
}

func (log *Log) write(stream string, text []byte) {
	log.mutex.Lock()
	defer log.mutex.Unlock()
	for viewer := range log.clients {
		writer := viewer.output
		if stream == "stderr" {
			writer = viewer.errors
		}
		if writer != nil {
			_, _ = writer.Write(text)
		}
	}
	pending := append(log.partial[stream], text...)
	for {
		end := bytes.IndexByte(pending, '\n')
		if end < 0 {
			break
		}
		log.line(stream, 'F', pending[:end])
		pending = pending[end+1:]
	}
	for len(pending) > longestLine {
		log.line(stream, 'P', pending[:longestLine])
		pending = pending[longestLine:]
	}
	log.partial[stream] = bytes.Clone(pending)
	log.notify()
}

func (log *Log) line(stream string, tag byte, text []byte) {
	_, _ = fmt.Fprintf(log.file, "%s %s %c %s\n", time.Now().Format(time.RFC3339Nano), stream, tag, text)
}

func (log *Log) notify() {
	close(log.changed)
	log.changed = make(chan struct{})
}

// finish writes what has no line end, once the streams ended. A process of another container cannot hold them open.
func (log *Log) finish() {
	log.readers.Wait()
	log.mutex.Lock()
	defer log.mutex.Unlock()
	for stream, text := range log.partial {
		if len(text) > 0 {
			log.line(stream, 'P', text)
		}
	}
	log.finished = true
	_ = log.file.Close()
	log.notify()
}

func (log *Log) attach(output, errors io.Writer) func() {
	viewer := &client{}
	if !isNil(output) {
		viewer.output = output
	}
	if !isNil(errors) {
		viewer.errors = errors
	}
	log.mutex.Lock()
	defer log.mutex.Unlock()
	log.clients[viewer] = true
	return func() {
		log.mutex.Lock()
		defer log.mutex.Unlock()
		delete(log.clients, viewer)
	}
}

// copy writes the log as `kubectl logs` wants it.
func (log *Log) copy(ctx context.Context, writer io.Writer, options *corev1.PodLogOptions, flush func()) error {
	file, err := os.Open(log.path)
	if err != nil {
		return err
	}
	defer file.Close()
	selection := newSelection(writer, options)
	if options.TailLines != nil {
		if err := seekTail(file, *options.TailLines); err != nil {
			return err
		}
	}
	reader := bufio.NewReader(file)
	rest := ""
	for {
		log.mutex.Lock()
		changed, finished := log.changed, log.finished
		log.mutex.Unlock()
		for {
			text, err := reader.ReadString('\n')
			rest += text
			if err != nil {
				break
			}
			if !selection.write(rest) {
				return nil
			}
			rest = ""
		}
		flush()
		if !options.Follow || finished {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil
		}
	}
}

// seekTail moves to the last lines of a log.
func seekTail(file *os.File, count int64) error {
	starts, offset := []int64{}, int64(0)
	reader := bufio.NewReader(file)
	whole := true
	for {
		line, err := reader.ReadString('\n')
		if err != nil {
			break
		}
		if whole {
			starts = append(starts, offset)
		}
		offset += int64(len(line))
		_, tag, _ := parseLine(line)
		whole = tag == "F"
	}
	position := offset
	if count > 0 && int64(len(starts)) > 0 {
		position = starts[max(0, int64(len(starts))-count)]
	}
	_, err := file.Seek(position, io.SeekStart)
	return err
}

type selection struct {
	writer     io.Writer
	timestamps bool
	since      time.Time
	remaining  int64
	stream     string
}

func newSelection(writer io.Writer, options *corev1.PodLogOptions) *selection {
	chosen := &selection{writer: writer, timestamps: options.Timestamps, remaining: -1}
	if options.SinceSeconds != nil {
		chosen.since = time.Now().Add(-time.Duration(*options.SinceSeconds) * time.Second)
	} else if options.SinceTime != nil {
		chosen.since = options.SinceTime.Time
	}
	if options.LimitBytes != nil {
		chosen.remaining = *options.LimitBytes
	}
	if options.Stream != nil && *options.Stream != corev1.LogStreamAll {
		chosen.stream = strings.ToLower(*options.Stream)
	}
	return chosen
}

// write writes one line of the log, and returns false once the limit is reached.
func (chosen *selection) write(line string) bool {
	stamp, tag, text := parseLine(line)
	moment, err := time.Parse(time.RFC3339Nano, stamp)
	if err == nil && moment.Before(chosen.since) {
		return true
	}
	stream, _, _ := strings.Cut(strings.TrimPrefix(line, stamp+" "), " ")
	if chosen.stream != "" && stream != chosen.stream {
		return true
	}
	if tag == "F" {
		text += "\n"
	}
	if chosen.timestamps {
		text = stamp + " " + text
	}
	if chosen.remaining >= 0 {
		text = text[:min(int64(len(text)), chosen.remaining)]
		chosen.remaining -= int64(len(text))
	}
	_, err = io.WriteString(chosen.writer, text)
	return err == nil && chosen.remaining != 0
}

func parseLine(line string) (stamp, tag, text string) {
	parts := strings.SplitN(strings.TrimSuffix(line, "\n"), " ", 4)
	if len(parts) < 4 {
		return "", "F", strings.TrimSuffix(line, "\n")
	}
	return parts[0], parts[2], parts[3]
}

// isNil tells a stream that the client did not ask for, also where a typed nil is in the interface.
func isNil(value any) bool {
	if value == nil {
		return true
	}
	reflected := reflect.ValueOf(value)
	return reflected.Kind() == reflect.Pointer && reflected.IsNil()
}

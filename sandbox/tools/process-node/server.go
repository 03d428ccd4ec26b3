package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	remotecommandconsts "k8s.io/apimachinery/pkg/util/remotecommand"
	"k8s.io/client-go/tools/remotecommand"
	streaming "k8s.io/kubelet/pkg/cri/streaming/remotecommand"
	utilexec "k8s.io/utils/exec"
)

const (
	idleTimeout     = 4 * time.Hour
	creationTimeout = 30 * time.Second
)

// Server answers the API server's requests to a kubelet: logs, exec and attach.
type Server struct {
	node     *Node
	listener net.Listener
}

// newServer listens on a free port of loopback. Only the API server's certificate opens it: whoever may run commands in
// a container acts as the person who runs the sandbox.
func newServer(node *Node, config *Config) (*Server, error) {
	authority, err := os.ReadFile(config.Authority)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(authority)
	certificate, err := selfSigned()
	if err != nil {
		return nil, err
	}
	settings := &tls.Config{
		Certificates: []tls.Certificate{certificate},
		ClientAuth:   tls.RequireAndVerifyClientCert,
		ClientCAs:    pool,
		MinVersion:   tls.VersionTLS13,
		NextProtos:   []string{"http/1.1"}, // SPDY and WebSocket upgrade HTTP/1
		VerifyConnection: func(state tls.ConnectionState) error {
			if name := state.PeerCertificates[0].Subject.CommonName; name != config.Client {
				return fmt.Errorf("%q is not the API server", name)
			}
			return nil
		},
	}
	listener, err := tls.Listen("tcp", "127.0.0.1:0", settings)
	if err != nil {
		return nil, err
	}
	return &Server{node: node, listener: listener}, nil
}

func (server *Server) port() int { return server.listener.Addr().(*net.TCPAddr).Port }

func (server *Server) serve() error {
	routes := http.NewServeMux()
	routes.HandleFunc("GET /containerLogs/{namespace}/{pod}/{container}", server.logs)
	routes.HandleFunc("/exec/{namespace}/{pod}/{container}", server.exec)
	routes.HandleFunc("/attach/{namespace}/{pod}/{container}", server.attach)
	routes.HandleFunc("/", func(writer http.ResponseWriter, request *http.Request) {
		http.Error(writer, "jobs run as processes: "+request.URL.Path+" needs real pods", http.StatusNotImplemented)
	})
	return (&http.Server{Handler: routes, ReadHeaderTimeout: time.Minute}).Serve(server.listener)
}

func (server *Server) container(writer http.ResponseWriter, request *http.Request) *Container {
	namespace, pod, name := request.PathValue("namespace"), request.PathValue("pod"), request.PathValue("container")
	container := server.node.container(namespace, pod, name)
	if container == nil {
		http.Error(writer, fmt.Sprintf("container %q of pod %s/%s is not running", name, namespace, pod), http.StatusNotFound)
	}
	return container
}

func (server *Server) logs(writer http.ResponseWriter, request *http.Request) {
	container := server.container(writer, request)
	if container == nil {
		return
	}
	options, err := logOptions(request)
	if err != nil {
		http.Error(writer, err.Error(), http.StatusBadRequest)
		return
	}
	writer.Header().Set("Content-Type", "text/plain; charset=utf-8")
	flush := func() {
		if flusher, ok := writer.(http.Flusher); ok {
			flusher.Flush()
		}
	}
	if err := container.log.copy(request.Context(), writer, options, flush); err != nil {
		_, _ = fmt.Fprintf(writer, "the log cannot be read: %v\n", err)
	}
}

func logOptions(request *http.Request) (*corev1.PodLogOptions, error) {
	options := &corev1.PodLogOptions{
		Follow:     request.FormValue("follow") == "true",
		Timestamps: request.FormValue("timestamps") == "true",
	}
	numbers := map[string]**int64{
		"tailLines": &options.TailLines, "limitBytes": &options.LimitBytes, "sinceSeconds": &options.SinceSeconds,
	}
	for name, target := range numbers {
		if text := request.FormValue(name); text != "" {
			number, err := strconv.ParseInt(text, 10, 64)
			if err != nil {
				return nil, fmt.Errorf("%s=%s is no number", name, text)
			}
			*target = &number
		}
	}
	if text := request.FormValue("sinceTime"); text != "" {
		moment, err := time.Parse(time.RFC3339, text)
		if err != nil {
			return nil, fmt.Errorf("sinceTime=%s is no time", text)
		}
		options.SinceTime = &metav1.Time{Time: moment}
	}
	if text := request.FormValue("stream"); text != "" {
		options.Stream = &text
	}
	return options, nil
}

func (server *Server) exec(writer http.ResponseWriter, request *http.Request) {
	options, err := streaming.NewOptions(request)
	if err != nil {
		http.Error(writer, err.Error(), http.StatusBadRequest)
		return
	}
	if container := server.container(writer, request); container != nil {
		streaming.ServeExec(writer, request, server, podKey(request), "", request.PathValue("container"), request.URL.Query()["command"],
			options, idleTimeout, creationTimeout, remotecommandconsts.SupportedStreamingProtocols)
	}
}

func (server *Server) attach(writer http.ResponseWriter, request *http.Request) {
	options, err := streaming.NewOptions(request)
	if err != nil {
		http.Error(writer, err.Error(), http.StatusBadRequest)
		return
	}
	if container := server.container(writer, request); container != nil {
		streaming.ServeAttach(writer, request, server, podKey(request), "", request.PathValue("container"),
			options, idleTimeout, creationTimeout, remotecommandconsts.SupportedStreamingProtocols)
	}
}

func podKey(request *http.Request) string {
	return request.PathValue("namespace") + "/" + request.PathValue("pod")
}

// ExecInContainer implements the streaming library's Executor.
func (server *Server) ExecInContainer(
	_ context.Context, key string, _ types.UID, name string, arguments []string,
	input io.Reader, output, errors io.WriteCloser, tty bool, sizes <-chan remotecommand.TerminalSize, _ time.Duration,
) error {
	pod := server.node.pod(key)
	if pod == nil {
		return fmt.Errorf("pod %s ended", key)
	}
	container, command := pod.command(name)
	if container == nil {
		return fmt.Errorf("container %q of pod %s is not running", name, key)
	}
	command.Arguments, command.Terminal, command.First = arguments, tty, false
	code, err := container.run(command, orNilReader(input), orNil(output), orNil(errors), sizes)
	if err != nil {
		return err
	}
	if code != 0 {
		return utilexec.CodeExitError{Err: fmt.Errorf("exit status %d", code), Code: code}
	}
	return nil
}

// AttachContainer implements the streaming library's Attacher.
func (server *Server) AttachContainer(
	_ context.Context, key string, _ types.UID, name string, input io.Reader, output, errors io.WriteCloser,
	_ bool, sizes <-chan remotecommand.TerminalSize,
) error {
	pod := server.node.pod(key)
	if pod == nil {
		return fmt.Errorf("pod %s ended", key)
	}
	container, _ := pod.command(name)
	if container == nil {
		return fmt.Errorf("container %q of pod %s is not running", name, key)
	}
	return container.attach(orNilReader(input), orNil(output), orNil(errors), sizes)
}

func orNil(writer io.WriteCloser) io.Writer {
	if isNil(writer) {
		return nil
	}
	return writer
}

func orNilReader(reader io.Reader) io.Reader {
	if isNil(reader) {
		return nil
	}
	return reader
}

// selfSigned makes a certificate; the API server does not verify kubelets unless it is told an authority.
func selfSigned() (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()),
		Subject:      pkix.Name{CommonName: "process-node"},
		NotBefore:    time.Now().Add(-time.Minute),
		NotAfter:     time.Now().AddDate(1, 0, 0),
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	text, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	return tls.Certificate{Certificate: [][]byte{text}, PrivateKey: key}, err
}

{{/* A PodMonitor or ServiceMonitor. Arguments: kind, monitor (its values), endpoints (name of the list), root. */}}
{{- define "gitlab-runner.monitor" -}}
apiVersion: monitoring.coreos.com/v1
kind: {{ .kind }}
metadata:
  name: {{ include "gitlab-runner.fullname" .root }}
  namespace: {{ default (include "gitlab-runner.namespace" .root) .monitor.namespace }}
  labels:
    {{- include "gitlab-runner.labels" .root | nindent 4 }}
    {{- with .monitor.labels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- with .monitor.annotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  {{- with .monitor.jobLabel }}
  jobLabel: {{ . | quote }}
  {{- end }}
  selector:
    matchLabels:
      app: {{ include "gitlab-runner.fullname" .root }}
  namespaceSelector:
    matchNames:
      - {{ include "gitlab-runner.namespace" .root }}
  {{ .endpoints }}:
    - port: {{ .root.Values.metrics.portName | quote }}
      {{- range $key := list "interval" "scheme" "path" }}
      {{- with get $.monitor $key }}
      {{ $key }}: {{ . | quote }}
      {{- end }}
      {{- end }}
      {{- range $key := list "tlsConfig" "metricRelabelings" "relabelings" }}
      {{- with get $.monitor $key }}
      {{ $key }}:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- end }}
{{- end -}}

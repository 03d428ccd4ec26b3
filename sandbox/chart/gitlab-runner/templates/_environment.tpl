{{/* Environment of the manager: the variables of `register` and `run`, then the user's entries. */}}
{{- define "gitlab-runner.environment" -}}
- name: CI_SERVER_URL
  value: {{ default "" .Values.gitlabUrl | quote }}
- name: RUNNER_EXECUTOR
  value: {{ default "kubernetes" .Values.runners.executor | quote }}
- name: REGISTER_LOCKED
  value: {{ ternary "false" "true" (and (hasKey .Values.runners "locked") (not .Values.runners.locked)) | quote }}
- name: RUNNER_TAG_LIST
  value: {{ default "" .Values.runners.tags | quote }}
{{- if hasKey .Values.runners "runUntagged" }}
- name: REGISTER_RUN_UNTAGGED
  value: {{ .Values.runners.runUntagged | toString | quote }}
{{- end }}
{{- if .Values.runners.protected }}
- name: REGISTER_ACCESS_LEVEL
  value: "ref_protected"
{{- end }}
{{- if not (regexMatch "\\s*namespace\\s*=" (include "gitlab-runner.config" .)) }}
- name: KUBERNETES_NAMESPACE
  value: {{ default .Release.Namespace .Values.runners.namespace | quote }}
{{- end }}
{{- if and .Values.sessionServer.enabled .Values.sessionServer.publicIP }}
- name: SESSION_SERVER_ADDRESS
  value: {{ printf "%s:%v" .Values.sessionServer.publicIP (default 9000 .Values.sessionServer.externalPort) | quote }}
{{- end }}
{{- with .Values.envVars }}
{{ toYaml . }}
{{- end }}
{{- range $name, $value := .Values.extraEnv }}
- name: {{ $name }}
  value: {{ $value | toString | quote }}
{{- end }}
{{- range $name, $source := .Values.extraEnvFrom }}
- name: {{ $name }}
  valueFrom:
    {{- toYaml $source | nindent 4 }}
{{- end }}
{{- end -}}

{{/* One probe. Arguments: command (list), probe (map of values), root. */}}
{{- define "gitlab-runner.probe" -}}
exec:
  command: {{ toJson .command }}
initialDelaySeconds: {{ default 60 .probe.initialDelaySeconds }}
timeoutSeconds: {{ default 4 .root.Values.probeTimeoutSeconds }}
periodSeconds: {{ default 60 .probe.periodSeconds }}
successThreshold: {{ default 1 .probe.successThreshold }}
failureThreshold: {{ default 3 .probe.failureThreshold }}
{{- end -}}

{{- define "gitlab-runner.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "gitlab-runner.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" -}}
{{- else if hasPrefix (include "gitlab-runner.name" .) .Release.Name -}}
{{- .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "gitlab-runner.name" .) | trunc 63 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "gitlab-runner.namespace" -}}
{{- default .Release.Namespace .Values.namespace -}}
{{- end -}}

{{- define "gitlab-runner.job-namespace" -}}
{{- default (include "gitlab-runner.namespace" .) .Values.runners.jobNamespace -}}
{{- end -}}

{{/* Name of the Secret with both tokens: the user's, or the one that this chart creates. */}}
{{- define "gitlab-runner.secret" -}}
{{- if .Values.runners.secret -}}
{{- tpl .Values.runners.secret . -}}
{{- else -}}
{{- include "gitlab-runner.fullname" . -}}
{{- end -}}
{{- end -}}

{{- define "gitlab-runner.labels" -}}
app: {{ include "gitlab-runner.fullname" . }}
chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 }}
release: {{ .Release.Name | quote }}
heritage: {{ .Release.Service | quote }}
{{- end -}}

{{- define "gitlab-runner.image" -}}
{{- $tag := default (printf "alpine-v%s" .Chart.AppVersion) .Values.image.tag -}}
{{- $path := printf "%s:%s" .Values.image.image $tag -}}
{{- if .Values.image.registry -}}
{{- tpl (printf "%s/%s" .Values.image.registry $path) . -}}
{{- else -}}
{{- tpl $path . -}}
{{- end -}}
{{- end -}}

{{/* "yes" if the chart creates a service account: `create` is true, or unset while RBAC is created. */}}
{{- define "gitlab-runner.makes-account" -}}
{{- if hasKey .Values.serviceAccount "create" -}}
{{- if .Values.serviceAccount.create -}}yes{{- end -}}
{{- else if .Values.rbac.create -}}yes{{- end -}}
{{- end -}}

{{- define "gitlab-runner.account" -}}
{{- if .Values.serviceAccount.name -}}
{{- tpl .Values.serviceAccount.name . -}}
{{- else if include "gitlab-runner.makes-account" . -}}
{{- default (include "gitlab-runner.fullname" .) .Values.rbac.generatedServiceAccountName -}}
{{- else -}}
{{- default "default" .Values.rbac.serviceAccountName -}}
{{- end -}}
{{- end -}}

{{/* "yes" if the chart version is at least "since". */}}
{{- define "gitlab-runner.from" -}}
{{- if semverCompare (printf ">=%s-0" .since) .root.Chart.Version -}}yes{{- end -}}
{{- end -}}

{{- define "gitlab-runner.config-override" -}}
{{- if and .Values.runners.configOverride (include "gitlab-runner.from" (dict "since" "0.88.3" "root" .)) -}}
{{- tpl .Values.runners.configOverride . -}}
{{- end -}}
{{- end -}}

{{/* The registration template, after its own templating. */}}
{{- define "gitlab-runner.config" -}}
{{- if .Values.runners.config -}}
{{- tpl .Values.runners.config . -}}
{{- end -}}
{{- end -}}

{{/*
`register` refuses a maximum timeout with an authentication token, and the official chart does not clear it: the manager
would fail at every start. The token is read from the cluster if the release is really installed.
*/}}
{{- define "gitlab-runner.refusals" -}}
{{- if hasKey .Values.runners "maximumTimeout" -}}
{{- $token := default "" .Values.runnerToken -}}
{{- if not $token -}}
{{- $stored := lookup "v1" "Secret" (include "gitlab-runner.namespace" .) (include "gitlab-runner.secret" .) -}}
{{- $token = get (default dict $stored.data) "runner-token" | b64dec -}}
{{- end -}}
{{- if hasPrefix "glrt-" $token -}}
{{- fail "runners.maximumTimeout cannot be set with an authentication token (glrt-): the manager would refuse to register. Set maximum_timeout on the runner in GitLab and remove this value." -}}
{{- end -}}
{{- end -}}
{{- end -}}

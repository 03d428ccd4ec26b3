{{/*
The volumes of the manager. Both token keys are required: the pod does not start if the Secret lacks one, as with the
official chart.
*/}}
{{- define "gitlab-runner.volumes" -}}
- name: projected-secrets
  projected:
    sources:
      - secret:
          name: {{ include "gitlab-runner.secret" . }}
          items:
            - {key: runner-registration-token, path: runner-registration-token}
            - {key: runner-token, path: runner-token}
      {{- with .Values.runners.cache.secretName }}
      - secret:
          name: {{ tpl . $ }}
      {{- end }}
      {{- with .Values.secrets }}
      {{- toYaml . | nindent 6 }}
      {{- end }}
- name: etc-gitlab-runner
  emptyDir:
    medium: Memory
- name: configmaps
  configMap:
    name: {{ include "gitlab-runner.fullname" . }}
{{- with .Values.certsSecretName }}
- name: custom-certs
  secret:
    secretName: {{ . }}
{{- end }}
{{- with .Values.volumes }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "gitlab-runner.volume-mounts" -}}
- name: projected-secrets
  mountPath: /secrets
- name: etc-gitlab-runner
  mountPath: /home/gitlab-runner/.gitlab-runner
- name: configmaps
  mountPath: /configmaps
{{- if .Values.certsSecretName }}
- name: custom-certs
  mountPath: /home/gitlab-runner/.gitlab-runner/certs/
  readOnly: true
{{- end }}
{{- with .Values.volumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end -}}

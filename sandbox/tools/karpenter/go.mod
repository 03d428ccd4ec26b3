module runner-platform.example/tools/karpenter

go 1.26.5

require sigs.k8s.io/karpenter v1.14.0

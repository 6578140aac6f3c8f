# A machine that can run virtual machines: it has /dev/kvm.

machine "hypervisor" {
  image          = "docker.io/library/debian:bookworm"
  cpus           = 4
  memory         = "8G"
  disk           = "128G"
  virtualization = true
}

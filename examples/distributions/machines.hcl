# Four distributions side by side, for trying the same command on each.

machine "alpine" {
  image  = "docker.io/library/alpine:3.22"
  cpus   = 1
  memory = "1G"
}

machine "debian" {
  image  = "docker.io/library/debian:bookworm"
  cpus   = 1
  memory = "1G"
}

machine "fedora" {
  image  = "docker.io/library/fedora:42"
  cpus   = 1
  memory = "2G"
}

machine "ubuntu" {
  image  = "docker.io/library/ubuntu:24.04"
  cpus   = 1
  memory = "1G"
}

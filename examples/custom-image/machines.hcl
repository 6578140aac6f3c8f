# A machine with a custom image, built from the Dockerfile beside this file.

project = "custom"

machine "box" {
  build {}
  cpus       = 2
  memory     = "2G"
  home_mount = "ro"
  services   = ["redis-server"]
}

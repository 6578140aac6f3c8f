# A machine from an image of your own, built from the Dockerfile beside this file.

project = "custom"

machine "box" {
  build {}
  cpus       = 2
  memory     = "2G"
  home_mount = "ro"
  services   = ["redis-server"]
}

# A machine from an image of your own: README.md says how machine.tar is made.

project = "custom"

machine "box" {
  image      = "oci-archive:./machine.tar"
  cpus       = 2
  memory     = "2G"
  home_mount = "ro"
  services   = ["redis-server"]
}

# One machine with systemd and PostgreSQL. `make demo` builds its image from Debian's
# packages and applies this file.

machine "dev" {
  image    = "oci:../../.cache/images/debian-systemd:debian"
  cpus     = 2
  memory   = "2G"
  services = ["postgresql"]
}

project = "Acme Corp"

machine "dev" {
  image    = "docker.io/library/debian:bookworm"
  cpu      = 2
  memory   = "512M"
	services = ["postgresql", "bad name"]
}

machine "Web" {
  home_mount = "read-only"
}

vm "x" {}

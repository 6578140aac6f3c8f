package config

import "syscall"

func (n node) Sys() any { return &syscall.Stat_t{Uid: n.uid, Dev: n.dev} }

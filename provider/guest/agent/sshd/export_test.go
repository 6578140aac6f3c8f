//go:build linux

package sshd

import "time"

// MaxLooks is how many looks at files may be under way.
const MaxLooks = maxLooks

// LimitLooks sets how long a file system may take to describe a file.
func (s *Server) LimitLooks(limit time.Duration) { s.looks.limit = limit }

// LimitPatience sets after which time a session tells that it waits for the init.
func (s *Server) LimitPatience(limit time.Duration) { s.patience, s.glance = limit, limit }

// Package vz runs machines with Apple's Virtualization.framework on macOS hosts.
//
// The framework is an Objective-C library inside our process, reached through
// github.com/Code-Hex/vz. A mistake there does not return an error but crashes the
// process, and this project is developed without a Mac. So the files that call the
// framework (_darwin.go) only translate. Everything that decides or waits is portable and
// tested on Linux against a stand-in: validation, dialling the guest, reasons of an end,
// and the mapping of the framework's errors.
//
// The machine runs in the supervisor's process and ends with it. The agent is dialled
// over vsock; shares and network are the framework's own virtiofs and NAT.
package vz

// Package vz runs machines with Apple's Virtualization.framework on macOS hosts.
//
// The framework is an Objective-C library inside our process, reached through
// github.com/Code-Hex/vz. A mistake there is no error but the end of the process, and
// this project is built where no Mac is. So the files that speak to the framework
// (_darwin.go) only translate, and everything that decides or waits is portable and
// tested on Linux against a stand-in: what may be asked for, how the guest is dialled,
// what an end means, which words of the framework are which error.
//
// The machine lives in the supervisor's process and ends with it. The agent is dialled
// over vsock, the home is the framework's own virtiofs, and the network is its NAT.
package vz

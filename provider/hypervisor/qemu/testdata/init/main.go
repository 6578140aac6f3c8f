// Command init is a minimal guest: it loads the modules of its initramfs, answers GET
// /v1/status, and does what the driver's tests need inside the guest. The tests use it
// instead of the agent, so that a failure can only be the virtual machine's.
package main

import (
	"encoding/json"
	"fmt"
	"log"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/stead-vm/stead/provider/guest"
	"github.com/stead-vm/stead/provider/guest/portmux"
)

func main() {
	if err := run(); err != nil {
		log.Print(err)
	}
	check(unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF))
}

func run() error {
	check(unix.Mount("devtmpfs", "/dev", "devtmpfs", 0, ""))
	check(unix.Mount("proc", "/proc", "proc", 0, ""))
	check(unix.Mount("sysfs", "/sys", "sysfs", 0, ""))
	log.SetFlags(0)
	if kmsg, err := os.OpenFile("/dev/kmsg", os.O_WRONLY, 0); err == nil {
		log.SetOutput(kmsg)
	}
	log.Print("init: started")
	order, err := os.ReadFile(filepath.Join(guest.ModulesDir, "order"))
	if err != nil {
		return err
	}
	for _, name := range strings.Fields(string(order)) {
		if err := load(filepath.Join(guest.ModulesDir, name)); err != nil {
			log.Printf("init: %s: %v", name, err)
		}
	}
	log.Print("init: modules loaded")
	port, err := openPort()
	if err != nil {
		return err
	}
	mux := portmux.NewMux(port)
	l, err := mux.Listen(guest.ControlPort)
	if err != nil {
		return err
	}
	go func() { check(http.Serve(l, handler())) }()
	log.Print("init: listening")
	return mux.Serve()
}

func load(file string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	return unix.FinitModule(int(f.Fd()), "", 0)
}

func openPort() (*os.File, error) {
	for range 500 {
		names, err := filepath.Glob("/sys/class/virtio-ports/*/name")
		if err != nil {
			return nil, err
		}
		for _, n := range names {
			name, err := os.ReadFile(n)
			if err == nil && strings.TrimSpace(string(name)) == guest.AgentPortName {
				dev := filepath.Join("/dev", filepath.Base(filepath.Dir(n)))
				fd, err := unix.Open(dev, unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
				if err != nil {
					return nil, err
				}
				return os.NewFile(uintptr(fd), dev), nil
			}
		}
		time.Sleep(10 * time.Millisecond)
	}
	return nil, fmt.Errorf("no port named %s", guest.AgentPortName)
}

func handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/status", func(w http.ResponseWriter, _ *http.Request) {
		var uts unix.Utsname
		check(unix.Uname(&uts))
		check(json.NewEncoder(w).Encode(guest.Status{Hello: guest.Hello{Release: unix.ByteSliceToString(uts.Release[:])}}))
	})
	mux.HandleFunc("GET /file", func(w http.ResponseWriter, r *http.Request) {
		// http.ServeFile would trust the wrong file sizes in /proc and /sys.
		text, err := os.ReadFile(r.FormValue("path"))
		if err != nil {
			http.Error(w, err.Error(), http.StatusNotFound)
			return
		}
		_, err = w.Write(text)
		check(err)
	})
	mux.HandleFunc("GET /glob", func(w http.ResponseWriter, r *http.Request) {
		names, err := filepath.Glob(r.FormValue("pattern"))
		check(err)
		check(json.NewEncoder(w).Encode(names))
	})
	mux.HandleFunc("POST /mount", func(w http.ResponseWriter, r *http.Request) {
		check(os.MkdirAll("/mnt", 0o755))
		if err := unix.Mount(r.FormValue("source"), "/mnt", r.FormValue("type"), 0, ""); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
		}
	})
	mux.HandleFunc("POST /address", func(_ http.ResponseWriter, r *http.Request) {
		card, err := netlink.LinkByName("eth0")
		check(err)
		address, err := netlink.ParseAddr(r.FormValue("cidr"))
		check(err)
		check(netlink.AddrAdd(card, address))
		check(netlink.LinkSetUp(card))
	})
	mux.HandleFunc("POST /reboot", func(_ http.ResponseWriter, r *http.Request) {
		how := map[string]int{"reset": unix.LINUX_REBOOT_CMD_RESTART, "poweroff": unix.LINUX_REBOOT_CMD_POWER_OFF}
		go func() { check(unix.Reboot(how[r.FormValue("how")])) }()
	})
	mux.HandleFunc("POST /panic", func(http.ResponseWriter, *http.Request) {
		go func() { check(os.WriteFile("/proc/sysrq-trigger", []byte("c"), 0)) }()
	})
	var filled []byte
	mux.HandleFunc("POST /memory", func(_ http.ResponseWriter, r *http.Request) {
		if filled != nil {
			check(unix.Munmap(filled))
			filled = nil
		}
		size, err := strconv.Atoi(r.FormValue("bytes"))
		check(err)
		if size == 0 {
			return
		}
		filled, err = unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
		check(err)
		for i := 0; i < len(filled); i += os.Getpagesize() {
			filled[i] = 1
		}
	})
	return mux
}

func check(err error) {
	if err != nil {
		log.Printf("init: %v", err)
	}
}

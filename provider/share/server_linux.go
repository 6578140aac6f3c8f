package share

import (
	"encoding/binary"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/stead-vm/stead/provider/share/hostfs"
	"github.com/stead-vm/stead/provider/share/vhostuser"
)

const (
	// workers is how many requests are executed at once, not counting requests that wait
	// for a lock. Further requests wait in the queue.
	workers = 16
	// backlog has room for all requests in the rings of a device: 17 of 1,024.
	backlog = 17 << 10

	// maxTransfer is the maximum size of a read or write, in bytes: the kernel's own
	// limit. The guest also stays 4 descriptors below its queue's size.
	maxTransfer = 1 << 20
	// headers has room for the fixed parts and names of a request or an answer, in bytes.
	headers = 4 << 10
	// maxIn and maxOut are the largest request and answer, in bytes. A guest limits writes in
	// bytes but reads in pages, as many as a write of maxTransfer has on this host. Its pages
	// have up to 64 KiB.
	maxIn  = maxTransfer + headers
	maxOut = maxTransfer/(4<<10)*(64<<10) + headers
	// maxWaits is how many requests may wait for locks: all of a guest's request queue. maxWait
	// is the largest of them, and its largest answer, in bytes. Both are less than 100 bytes in
	// fact, but the guest may replace the request while it waits for the processor.
	maxWaits = 1024
	maxWait  = 64 << 10
	// background is how many background requests, such as read-aheads, the guest may have
	// in flight.
	background = 64
)

// Operations of the FUSE protocol that the server inspects, from linux/fuse.h.
const (
	opFsync    = 20
	opInit     = 26
	opFsyncdir = 30
	opSetlk    = 32
	opSetlkw   = 33
	opDestroy  = 38
	opAllocate = 43
	opCopy     = 47
	opcodeAt   = 4 // offset in the request's header
	headerSize = 40
)

// server executes requests. The guest may boot again under the same QEMU, so each mount
// begins with a new file system. Files and locks of the previous kernel are closed.
type server struct {
	opts  Options
	queue chan *vhostuser.Request
	wg    sync.WaitGroup
	slow  slowness
	waits atomic.Int32 // goroutines of requests that wait for locks

	mu       sync.RWMutex
	files    *hostfs.FS
	protocol *fuse.ProtocolServer
}

func newServer(o Options) *server {
	s := &server{opts: o, queue: make(chan *vhostuser.Request, backlog)}
	s.slow = slowness{log: o.Log, dir: o.Dir, running: map[uint64]time.Time{}}
	for range workers {
		s.wg.Go(func() {
			for q := range s.queue {
				s.answer(q)
			}
		})
	}
	return s
}

// handle executes a request at once if that is likely to be quick and there is no other, and
// queues it otherwise. A request that waits for a lock gets a goroutine of its own, so that the
// request that releases the lock finds a worker. Neither waits nor what each of them holds may be
// without limit.
func (s *server) handle(q *vhostuser.Request) {
	switch opcode(q.In) {
	case opSetlkw:
	case opFsync, opFsyncdir, opAllocate, opCopy, opSetlk:
		s.queue <- q
		return
	default:
		if q.Alone {
			s.answer(q)
		} else {
			s.queue <- q
		}
		return
	}
	if size(q.In) > maxWait || size(q.Out) > maxWait || s.waits.Load() >= maxWaits {
		s.opts.Log.Debug("malformed request for a lock")
		q.Done(0)
		return
	}
	s.waits.Add(1)
	go func() {
		defer s.waits.Add(-1)
		s.answer(q)
	}()
}

func size(buffers [][]byte) (n int) {
	for _, b := range buffers {
		n += len(b)
	}
	return n
}

func (s *server) answer(q *vhostuser.Request) {
	if op := opcode(q.In); op == opInit || op == opDestroy {
		if err := s.renew(); err != nil {
			s.opts.Log.Error("the shared directory is gone", "dir", s.opts.Dir, "err", err)
			q.Done(0)
			return
		}
	}
	s.mu.RLock()
	protocol := s.protocol
	s.mu.RUnlock()
	if opcode(q.In) != opSetlkw { // which may wait for another process
		defer s.slow.end(s.slow.begin())
	}
	n, status := protocol.HandleRequest(q.In, q.Out)
	if !status.Ok() {
		s.opts.Log.Debug("malformed FUSE request", "status", status)
	}
	q.Done(n)
}

// opcode returns the request's operation, or 0 if the request is too short. It is only a
// hint: the guest may change it before the request is executed.
func opcode(in [][]byte) uint32 {
	if len(in) == 0 || len(in[0]) < headerSize {
		return 0
	}
	return binary.LittleEndian.Uint32(in[0][opcodeAt:])
}

// renew replaces the file system with a new one.
func (s *server) renew() error {
	files, err := hostfs.New(s.opts.Dir, hostfs.Options{ReadOnly: s.opts.ReadOnly, Log: s.opts.Log})
	if err != nil {
		return err
	}
	logger := slog.NewLogLogger(s.opts.Log.Handler(), slog.LevelDebug)
	protocol := fuse.NewProtocolServer(files, &fuse.MountOptions{
		MaxWrite:             maxTransfer,
		MaxBackground:        background,
		EnableLocks:          true,
		EnableSymlinkCaching: true,
		Logger:               logger,
		PanicHandler: func(reason any) fuse.Status {
			logger.Printf("request refused: %v", reason)
			return fuse.EIO
		},
		// Without HANDLE_KILLPRIV_V2, the guest asks for a file's capabilities before every
		// write.
		ExtraCapabilities: fuse.CAP_HANDLE_KILLPRIV_V2 | fuse.CAP_ATOMIC_O_TRUNC | fuse.CAP_ASYNC_DIO | fuse.CAP_READDIRPLUS_AUTO,
	})
	s.mu.Lock()
	old := s.files
	s.files, s.protocol = files, protocol
	s.mu.Unlock()
	if old != nil {
		return old.Close()
	}
	return nil
}

// interrupt ends all waits for locks.
func (s *server) interrupt() {
	s.mu.RLock()
	defer s.mu.RUnlock()
	s.files.Interrupt()
}

// close ends the workers, without waiting if one is stuck. No request may follow.
func (s *server) close(stuck bool) {
	close(s.queue)
	if stuck {
		return
	}
	s.wg.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.files != nil {
		_ = s.files.Close()
	}
}

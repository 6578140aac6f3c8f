package bundle

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/stead-vm/stead/provider/regular"
	"github.com/stead-vm/stead/provider/size"
)

// CloneFile copies the sparse file src to the new file dst. If the file system can,
// the copy shares src's blocks; otherwise data is copied and holes are kept.
func CloneFile(ctx context.Context, dst, src string) error {
	in, err := regular.Open(src)
	if err != nil {
		return err
	}
	defer in.Close()
	info, err := in.Stat()
	if err != nil {
		return err
	}
	if shared, err := ShareBlocks(dst, in); shared || err != nil {
		return err
	}
	out, err := os.OpenFile(dst, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	err = copyData(ctx, out, in, info.Size())
	if err == nil {
		err = out.Sync()
	}
	if closeErr := out.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return fmt.Errorf("copy of %s: %w", src, err)
	}
	return nil
}

// copyData copies the data ranges of in, which has the given length, and sets the length of out.
func copyData(ctx context.Context, out, in *os.File, length int64) error {
	if err := out.Truncate(length); err != nil {
		return err
	}
	for off := int64(0); off < length; {
		start, end, err := nextData(in, off, length)
		if err != nil || start >= length {
			return err
		}
		for start < end {
			if err := ctx.Err(); err != nil {
				return context.Cause(ctx)
			}
			n, err := copyRange(out, in, start, min(end-start, 64*size.MiB))
			if err != nil {
				return err
			}
			start += n
		}
		off = end
	}
	return nil
}

// copyOccupied copies n bytes at off from in to the same place in out, which has a hole there.
// It leaves holes for blocks of zeros.
func copyOccupied(out, in *os.File, off, n int64) error {
	const block = 128 << 10
	buf, zeros := make([]byte, block), make([]byte, block)
	for end := off + n; off < end; {
		b := buf[:min(block, end-off)]
		if _, err := in.ReadAt(b, off); err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return err
		}
		if !bytes.Equal(b, zeros[:len(b)]) {
			if _, err := out.WriteAt(b, off); err != nil {
				return err
			}
		}
		off += int64(len(b))
	}
	return nil
}

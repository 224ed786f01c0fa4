package fuse

import (
	"strconv"
	"sync/atomic"
)

// Opcodes of requests that are looked at before go-fuse does, from the kernel's
// include/uapi/linux/fuse.h.
const (
	opForget        = 2
	opRename        = 12
	opRead          = 15
	opRelease       = 18
	opInit          = 26
	opReleasedir    = 29
	opFallocate     = 43
	opRename2       = 45
	opLseek         = 46
	opCopyFileRange = 47
	opcodeCount     = 64 // more than there are
)

// requests counts the requests of each opcode since the mount or the last reset.
type requests [opcodeCount]atomic.Uint64

func (r *requests) count(opcode uint32) {
	if opcode < opcodeCount {
		r[opcode].Add(1)
	}
}

func (r *requests) snapshot() map[string]uint64 {
	m := make(map[string]uint64)
	for op := range r {
		if n := r[op].Load(); n > 0 {
			m[requestName(uint32(op))] = n
		}
	}
	return m
}

func (r *requests) reset() {
	for op := range r {
		r[op].Store(0)
	}
}

// requestName is the kernel's name of an opcode.
func requestName(opcode uint32) string {
	if opcode < opcodeCount && requestNames[opcode] != "" {
		return requestNames[opcode]
	}
	return "OPCODE-" + strconv.Itoa(int(opcode))
}

var requestNames = [opcodeCount]string{
	1: "LOOKUP", opForget: "FORGET", 3: "GETATTR", 4: "SETATTR", 5: "READLINK", 6: "SYMLINK",
	8: "MKNOD", 9: "MKDIR", 10: "UNLINK", 11: "RMDIR", 12: "RENAME", 13: "LINK",
	14: "OPEN", 15: "READ", 16: "WRITE", 17: "STATFS", opRelease: "RELEASE", 20: "FSYNC",
	21: "SETXATTR", 22: "GETXATTR", 23: "LISTXATTR", 24: "REMOVEXATTR", 25: "FLUSH",
	27: "OPENDIR", 28: "READDIR", opReleasedir: "RELEASEDIR", 30: "FSYNCDIR",
	31: "GETLK", 32: "SETLK", 33: "SETLKW", 34: "ACCESS", 35: "CREATE", 39: "IOCTL",
	43: "FALLOCATE", 44: "READDIRPLUS", 45: "RENAME2", 46: "LSEEK", 47: "COPY_FILE_RANGE",
	51: "TMPFILE", 52: "STATX",
}

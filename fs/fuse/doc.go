// Package fuse mounts a tree of package fs. It is a gofuse.RawFileSystem whose node IDs
// are inode numbers: there is no tree of nodes in memory, and no open files. It is the
// only importer of go-fuse.
//
// # Life of a mount
//
// Mount returns when the mount answers. Wait returns when the kernel is done with it,
// whoever unmounted it and however: Server.Unmount, umount(8), fusermount3 -u, the end
// of a lazy unmount, an abort. The kernel waits for nothing then, neither for a commit
// nor for this process. So what makes an unmount durable is the caller's:
//
//	srv, err := fuse.Mount(tree, options)
//	…                            // a signal handler may call srv.Unmount
//	srv.Wait()                   // no request comes any more
//	err = tree.Close()           // drops the kernel's references
//	err = store.Close()          // commits; an error means "not durable"
//
// A command that unmounts on behalf of a user waits for the end of that process and not
// only for Unmount. Somebody who calls fusermount3 -u or umount(8) has to look for the
// end of it himself. A container that was started meanwhile may have a copy of the mount
// in its mount namespace, and then nothing ends before it does; Unmount says so
// (ErrElsewhere).
//
// Between fork(2) and execve(2) a child of this process must not touch the mount: the
// child stops a thread of its parent until then, and with that, when the garbage
// collector runs, all that answers requests. A daemon runs no programs from its mount.
//
// # The loop
//
// go-fuse mounts nothing and reads no requests here; it gives us their types, parses them, and calls the bridge. The loop
// (loop.go) has workers, of which one leads. The leader reads a request and answers it itself, in the same goroutine, and
// so most of the time in the same thread: waking another one, on another CPU, costs more than most answers. While it
// answers nobody reads. The lead goes to another worker
//
//   - before a request that waits by its nature, or is large, or comes while several programs ask by turns;
//   - when a request takes longer than a millisecond (watchEvery), by a watcher, which sleeps while there are none.
//
// So a slow request, however long it takes, keeps others waiting for a millisecond or two. There are as many workers as
// requests that wait, and a few more; those are in the kernel's limits (maxBackground, and one for each thread of a
// program).
//
// # A commit before it is asked for
//
// Of a file that is written and synced by turns, as logs and databases do, the kernel sends WRITE, SETATTR if its coarse
// clock (4 ms) has given the file a new time since the last one, and FSYNC. Once that has been seen some times in a row
// (eager.go), the commit begins when the last of them before FSYNC is answered, in the same goroutine, so that the disk is
// at work while FSYNC travels. A wrong guess costs a commit, and ends the guessing for that file.
//
// # Requests that never come
//
// The kernel asks for OPEN, OPENDIR, FLUSH and CREATE once each, is told ENOSYS, and from
// then on does without. Nothing is lost by it:
//
//   - OPEN: O_TRUNC arrives as SETATTR (we do not ask for ATOMIC_O_TRUNC), O_EXCL, O_APPEND
//     and permissions are the kernel's business, and the page cache stays from one open to
//     the next. RELEASE ceases as well. A file that is open and has no name lives until
//     FORGET.
//   - OPENDIR: likewise, and the kernel caches the list of names. It drops the list when it
//     changes the directory itself, or is notified.
//   - FLUSH: at each close(2) the kernel writes back and waits for the replies before it
//     would ask, so a close hands the data over and reports errors all the same.
//   - CREATE: the kernel sends MKNOD and opens without a request. It remembers that it made
//     the file, so a new file of mode 0444 can be written by its creator.
//   - TMPFILE has no such way, so it is answered.
//   - ACCESS, GETLK, SETLK, SETLKW, BMAP, POLL, SYNCFS: not asked for, because of
//     default_permissions, because locks of one host are the kernel's, or because FUSE
//     filesystems that are no block devices are not told.
//   - FICLONE and FICLONERANGE: refused by the kernel (EOPNOTSUPP), for lack of a request.
//     copy_file_range(2) shares blocks; cp tries it next.
//   - COLLAPSE_RANGE and INSERT_RANGE of fallocate(2), RENAME_WHITEOUT: refused.
//   - Other ioctls: ENOTTY. There are no FS_IOC_GETFLAGS.
//
// As there is no SYNCFS, sync(2) and syncfs(2) hand the data over and do not wait for the
// commit that follows within 5 s; fsync does. In the root directory the name
// .go-fuse-epoll-hack is go-fuse's own.
//
// # Requests that remain
//
// A small file of "tar x", as root, takes ten, and one FORGET when the kernel drops it:
//
//	LOOKUP    the name is new to the kernel
//	MKNOD
//	GETATTR   of the directory: MKNOD made the kernel forget its attributes, and it
//	          checks permissions before the next one
//	GETXATTR  security.capability, before the first write to an inode
//	WRITE     at close, or before a SETATTR of times, owner or mode
//	SETATTR   the times of that write
//	SETATTR   futimens
//	GETXATTR  security.capability, before fchown (root only)
//	SETATTR   fchown (root only)
//	SETATTR   fchmod
//
// A removal takes UNLINK, SETATTR (the ctime, which for regular files the kernel keeps),
// GETATTR of the directory and FORGET. Files that the kernel has cached take none for
// open, read, stat and close, apart from GETATTR once a read has moved the access time.
// ls -l asks GETXATTR for security.capability and ACLs of each file: -o noxattr turns
// attributes off, -o acl has the kernel cache the ACLs.
//
// # References
//
// Each reply that gives the kernel a node ID (LOOKUP, MKNOD, MKDIR, SYMLINK, LINK, TMPFILE,
// each entry of READDIRPLUS other than "." and "..") is one fs.Ref; FORGET and BATCH_FORGET
// are Unref. The kernel sends no FORGET when it unmounts.
//
// # The writeback cache
//
// While the kernel has a regular file cached, it owns size and times of it: GETATTR's
// answer is not believed, and WRITEs from the cache move no times here (fs.WriteBack); a
// SETATTR brings them. Close, fsync, chown, chmod, utimes, O_DIRECT and copy_file_range write
// back first. Two requests do not, and we make up for it:
// LSEEK (see Lseek) and a RENAME over another file (see dropReplacement).
//
// What a program writes to a file that it keeps open stays in the kernel until its flusher
// takes it, after 30 s (vm.dirty_expire_centisecs). So that a crash of this process, or of
// the machine, costs less, we call syncfs(2) on the mount every 2 s (writebackEvery). With
// the commit every 5 s:
//
//	what was closed, or written back in another way   at most 5 s old is lost
//	what is in a file that is still open               at most 5 + 2 s, and the time that it
//	                                                   takes to write back (of maxDirty bytes
//	                                                   at most)
//	what fsync has returned for                        nothing
//
// syncfs on a FUSE mount sends the WRITEs and does not wait for replies; it does wait for
// those to the SETATTRs by which it hands times over. Requests are
// answered by workers, and syncfs takes no lock that they need. It runs on a thread apart
// (apart.go), so that it does not keep the mount alive when this process is killed meanwhile. A clean mount
// costs some 50 µs a round and no request. The call takes a descriptor in the mount, which
// would make an unmount at that moment fail with EBUSY. Our own Unmount waits for the round
// to end. For others' sake root opens a private clone of the mount (open_tree(2)), which
// umount(2) does not look at. An ordinary user's rounds can meet somebody else's umount;
// they are short, and while there is much to write a program has files open anyway. After
// a lazy unmount nothing leads to the mount any more, and the kernel's 30 s apply.
//
// # Commands
//
// Names, their absence, and attributes are the kernel's for a day. What changes them without
// passing through the kernel is told to it by a notifier, which is the tree's fs.Observer.
// Size and content of a regular file cannot be told while a program has it open; a command
// gives the name a new inode instead. Settle waits until the kernel knows.
//
// A notification waits for locks of directories and pages that the kernel holds while it
// waits for our replies. It is sent from a goroutine of its own, and nothing that a
// request needs may be held meanwhile. Lseek and Rename do send one from within a request:
// there the kernel holds no page, and of the locks that it holds, none that it takes for it.
//
// The kernel gives a mount up when the last descriptor of its device is closed. If this process is killed while a thread
// waits within the kernel for what only this process could do, that thread would keep the device, and all who use the mount
// would hang. What can, waits on a thread apart, which has no descriptors. A notification can not: it is a write to the
// device. For that there is a guard, a small process that outlives this one and has the kernel give up.
//
// # Interrupts and panics
//
// All requests end in bounded time, so signals do not interrupt them, and no program sees
// EINTR that would not see it elsewhere. A panic is EIO for its request and a line in the log.
//
// # Files
//
//	mount.go, options.go, mountpoint.go    mounting and unmounting
//	device.go, loop.go                     the descriptor that requests come from, and who answers
//	eager.go                               commits that begin before FSYNC
//	bdi.go                                 the kernel's read-ahead and limit for dirty pages
//	bridge.go                              the interface to fs, what go-fuse calls first and last
//	name.go, dir.go, attr.go, file.go,
//	seek.go, xattr.go                      requests, by family
//	errno.go                               errors to numbers, nowhere else
//	writeback.go, inprogress.go            the rounds
//	apart.go, guard.go                     a killed process takes its mount along
//	notify.go                              changes that commands make
//	requests.go                            counters
//
// # Locking
//
// writeback.mu, notifier.mu, failures.mu and eager.mu are leaves: nothing is locked, and fs is not
// called, under them. writeback.mu is held during a round and during our own unmount.
package fuse

// Package fs is the filesystem of a store: inodes, directories, file data, namespaces. It knows nothing of FUSE.
package fs

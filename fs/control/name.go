package control

import "salliefs/blockstore"

// Name is a name or a path, whose bytes survive JSON.
type Name = blockstore.PathName

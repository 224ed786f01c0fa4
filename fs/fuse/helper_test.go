package fuse

const helperEnv = "SALLIEFS_FUSE_TEST_HELPER"

func helper() int { return 2 }

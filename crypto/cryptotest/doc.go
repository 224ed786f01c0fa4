// Package cryptotest looks at the memory that keys are in, for tests.
package cryptotest

//go:build tools

// Package programs lists the command that go.mod pins.
package programs

import _ "sigs.k8s.io/kueue/cmd/kueue"

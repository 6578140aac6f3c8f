//go:build !linux

package regular

// kernelFiles returns "": only Linux has files of the kernel that count as regular.
func kernelFiles(int) string { return "" }

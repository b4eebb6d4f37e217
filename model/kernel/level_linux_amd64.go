//go:build amd64 && linux && !noasm

package kernel

import (
	"fmt"
	"syscall"

	"github.com/warmserve/warmserve/model/kernel/amd64"
)

// askForTiles asks the system to let this process use the matrix unit and returns why
// not. Linux saves the unit's state only for processes that have asked; the answer
// holds for every thread, those to come included. A program that is told no, by an
// old kernel, a sandbox or a thread whose signal stack is too small, goes on without.
// Source: Linux, Documentation/arch/x86/xstate.rst.
func askForTiles() error {
	const (
		states       = 1<<17 | 1<<18 // XTILECFG and XTILEDATA
		archPrctl    = 158
		reqXCompPerm = 0x1023
		xTileData    = 18
	)
	if has := amd64.XCR0(); has&states != states {
		return fmt.Errorf("the system does not save tiles: XCR0 is %#x", has)
	}
	if err := checkPalette(); err != nil {
		return err
	}
	if err := checkSignalStack(); err != nil {
		return err
	}
	if _, _, e := syscall.RawSyscall(archPrctl, reqXCompPerm, xTileData, 0); e != 0 {
		return fmt.Errorf("arch_prctl(ARCH_REQ_XCOMP_PERM): %w", e)
	}
	return nil
}

// checkPalette wants the tiles that the assembly configures: eight of 16 rows of 64
// bytes.
func checkPalette() error {
	highest, _, _, _ := amd64.CPUID(0, 0)
	if highest < 0x1d {
		return fmt.Errorf("the processor describes no tiles")
	}
	size, row, rows, _ := amd64.CPUID(0x1d, 1)
	if size>>16 != 1024 || row&0xffff != 64 || row>>16 < 8 || rows&0xffff < 16 {
		return fmt.Errorf("palette 1 is %#x %#x %#x, want eight tiles of 16 rows of 64 bytes", size, row, rows)
	}
	return nil
}

// checkSignalStack wants room for the registers of a thread that uses tiles, which the
// system puts on its signal stack, in half of the 32 KB that Go's threads have there.
func checkSignalStack() error {
	if _, size, _, _ := amd64.CPUID(0xd, 0); size > 16<<10 {
		return fmt.Errorf("a signal saves %d bytes of registers, want at most %d", size, 16<<10)
	}
	return nil
}

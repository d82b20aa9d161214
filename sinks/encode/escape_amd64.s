//go:build !purego

#include "textflag.h"

// What stands behind the backslash for each control character, 0 for those that are written as \u00XX.
DATA letters<>+0x00(SB)/8, $0x0000000000000000
DATA letters<>+0x08(SB)/8, $0x00007200006e7400 // 9 't', 10 'n', 13 'r'
DATA letters<>+0x10(SB)/8, $0x0000000000000000
DATA letters<>+0x18(SB)/8, $0x0000000000000000
GLOBL letters<>(SB), RODATA|NOPTR, $32

DATA slots<>+0x00(SB)/8, $0x5555555555555555 // where a prefix would stand
DATA slots<>+0x08(SB)/8, $0xaaaaaaaaaaaaaaaa // where the characters stand
GLOBL slots<>(SB), RODATA|NOPTR, $16

#define BROADCAST(c, y) \
	MOVL $c, AX; \
	VPBROADCASTB AX, y

// EXPAND writes the characters of Y0 to DI, those of mask AX with the byte that Z16 is full of before them. Every character has two
// places, of which the first is left out where AX has no bit; VPEXPANDB puts the characters into the second ones.
#define EXPAND \
	POPCNTL AX, R10; \
	PDEPQ R8, AX, AX; \
	ORQ R9, AX; \
	PEXTQ AX, R9, AX; \
	KMOVQ AX, K5; \
	VMOVDQA64 Z16, Z1; \
	VPEXPANDB Z0, K5, Z1; \
	VMOVDQU64 Z1, (DI); \
	ADDQ R10, DI

// func escapeWide(dst, src *byte, n int) (read, written int)
TEXT ·escapeWide(SB), NOSPLIT, $0-40
	MOVQ dst+0(FP), DI
	MOVQ src+8(FP), SI
	MOVQ n+16(FP), CX
	MOVQ DI, R11
	MOVQ SI, R12
	MOVQ slots<>+0(SB), R8
	MOVQ slots<>+8(SB), R9
	BROADCAST(0x20, Y17)
	BROADCAST(0x22, Y18)
	MOVL $0x5c, AX
	VPBROADCASTB AX, Z16
	VMOVDQU8 letters<>(SB), Y19

loop:
	CMPQ CX, $32
	JLT  tail
	VMOVDQU8 (SI), Y0
	VPCMPUB $1, Y17, Y0, K1
	VPCMPEQB Y18, Y0, K2
	VPCMPEQB Y16, Y0, K3
	VPERMB Y19, Y0, K1, Y0
	VPTESTNMB Y0, Y0, K1, K4
	KORD K1, K2, K2
	KORD K2, K3, K3
	KMOVD K3, AX
	KORTESTD K4, K4
	JNE rare
	EXPAND
	ADDQ $32, DI
	ADDQ $32, SI
	SUBQ $32, CX
	JMP loop

tail:
	TESTQ CX, CX
	JEQ done
	MOVQ $-1, AX
	BZHIQ CX, AX, AX
	KMOVD AX, K6
	VMOVDQU8.Z (SI), K6, Y0
	VPCMPUB $1, Y17, Y0, K6, K1
	VPCMPEQB Y18, Y0, K2
	VPCMPEQB Y16, Y0, K3
	VPERMB Y19, Y0, K1, Y0
	VPTESTNMB Y0, Y0, K1, K4
	KORD K1, K2, K2
	KORD K2, K3, K3
	KMOVD K3, AX
	KORTESTD K4, K4
	JEQ last

rare: // only what is before the character without a letter
	KMOVD K4, CX
	TZCNTL CX, CX
	BZHIL CX, AX, AX

last:
	EXPAND
	ADDQ CX, DI
	ADDQ CX, SI

done:
	SUBQ R12, SI
	SUBQ R11, DI
	MOVQ SI, read+24(FP)
	MOVQ DI, written+32(FP)
	VZEROUPPER
	RET

// func doubleWide(dst, src *byte, n int) (written int, special bool)
TEXT ·doubleWide(SB), NOSPLIT, $0-33
	MOVQ dst+0(FP), DI
	MOVQ src+8(FP), SI
	MOVQ n+16(FP), CX
	MOVQ DI, R11
	MOVQ slots<>+0(SB), R8
	MOVQ slots<>+8(SB), R9
	XORL R13, R13
	MOVL $0x22, AX
	VPBROADCASTB AX, Z16
	BROADCAST(0x2c, Y17)
	BROADCAST(0x0a, Y18)
	BROADCAST(0x0d, Y19)

loop:
	CMPQ CX, $32
	JLT  tail
	VMOVDQU8 (SI), Y0
	VPCMPEQB Y16, Y0, K1
	VPCMPEQB Y17, Y0, K2
	VPCMPEQB Y18, Y0, K3
	VPCMPEQB Y19, Y0, K4
	KORD K2, K3, K3
	KORD K3, K4, K4
	KMOVD K4, R12
	ORL  R12, R13
	KMOVD K1, AX
	ORL  AX, R13
	EXPAND
	ADDQ $32, DI
	ADDQ $32, SI
	SUBQ $32, CX
	JMP loop

tail:
	TESTQ CX, CX
	JEQ done
	MOVQ $-1, AX
	BZHIQ CX, AX, AX
	KMOVD AX, K6
	VMOVDQU8.Z (SI), K6, Y0
	VPCMPEQB Y16, Y0, K1
	VPCMPEQB Y17, Y0, K2
	VPCMPEQB Y18, Y0, K3
	VPCMPEQB Y19, Y0, K4
	KORD K2, K3, K3
	KORD K3, K4, K4
	KMOVD K4, R12
	ORL  R12, R13
	KMOVD K1, AX
	ORL  AX, R13
	EXPAND
	ADDQ CX, DI

done:
	SUBQ R11, DI
	MOVQ DI, written+24(FP)
	TESTL R13, R13
	SETNE special+32(FP)
	VZEROUPPER
	RET

//go:build amxemu && linux && amd64

#define _GNU_SOURCE
#include <math.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>
#include <unistd.h>
#include <xmmintrin.h>

enum { TILES = 8, ROWS = 16, ROW_BYTES = 64, CONFIG_BYTES = 64 };

typedef union {
	uint8_t u8[ROWS][ROW_BYTES];
	int8_t s8[ROWS][ROW_BYTES];
	int32_t s32[ROWS][ROW_BYTES / 4];
	uint32_t u32[ROWS][ROW_BYTES / 4];
	float f32[ROWS][ROW_BYTES / 4];
} tile;

// As in a processor each thread has its own tiles. They are zero without a configuration.
static __thread tile tiles[TILES];
static __thread uint8_t config[CONFIG_BYTES]; // as LDTILECFG reads it

static struct sigaction before;

static void fail(const char *reason) {
	const char *text[] = {"amxemu: ", reason, "\n"};
	for (int i = 0; i < 3; i++)
		if (write(STDERR_FILENO, text[i], strlen(text[i])) < 0) break;
	abort();
}

static int rows(int t) { return config[48 + t]; }
static int row_bytes(int t) { return config[16 + 2 * t] | config[17 + 2 * t] << 8; }

static void need_tile(int t) {
	if (config[0] == 0) fail("an instruction for tiles without LDTILECFG before it");
	if (rows(t) == 0) fail("a tile that the configuration leaves out");
}

static void release(void) {
	memset(config, 0, sizeof config);
	memset(tiles, 0, sizeof tiles);
}

static void load_config(const uint8_t *from) {
	release();
	memcpy(config, from, sizeof config);
	if (config[0] != 1) fail("LDTILECFG: expected palette 1");
	for (int i = 1; i < 16; i++)
		if (config[i] != 0) fail("LDTILECFG: start row or reserved bytes are not zero");
	for (int t = 0; t < TILES; t++)
		if (rows(t) > ROWS || row_bytes(t) > ROW_BYTES || (rows(t) == 0) != (row_bytes(t) == 0))
			fail("LDTILECFG: a tile has at most 16 rows of 64 bytes, and neither or both are zero");
}

// load fills a tile; what lies beyond its rows and columns becomes zero.
static void load(int t, const uint8_t *from, int64_t stride) {
	need_tile(t);
	memset(&tiles[t], 0, sizeof(tile));
	for (int i = 0; i < rows(t); i++) memcpy(tiles[t].u8[i], from + i * stride, row_bytes(t));
}

static void store(int t, uint8_t *to, int64_t stride) {
	need_tile(t);
	for (int i = 0; i < rows(t); i++) memcpy(to + i * stride, tiles[t].u8[i], row_bytes(t));
}

static void need_product(int d, int a, int b) {
	need_tile(d);
	need_tile(a);
	need_tile(b);
	if (d == a || d == b || a == b) fail("a product needs three different tiles");
	if (rows(d) != rows(a) || row_bytes(a) % 4 != 0 || rows(b) != row_bytes(a) / 4 || row_bytes(b) != row_bytes(d) || row_bytes(d) % 4 != 0)
		fail("a product of tiles whose shapes do not match");
}

// dot adds products of bytes, four by four, to the 32-bit sums of tile d, which wrap around.
static void dot(int d, int a, int b, int a_signed, int b_signed) {
	need_product(d, a, b);
	for (int i = 0; i < rows(d); i++)
		for (int k = 0; k < row_bytes(a); k++) {
			int x = a_signed ? tiles[a].s8[i][k] : tiles[a].u8[i][k];
			for (int j = 0; j < row_bytes(d) / 4; j++) {
				int y = b_signed ? tiles[b].s8[k / 4][4 * j + k % 4] : tiles[b].u8[k / 4][4 * j + k % 4];
				tiles[d].u32[i][j] += (uint32_t)(x * y);
			}
		}
}

static float bf16(uint32_t high) {
	float f;
	memcpy(&f, &high, sizeof f);
	return f;
}

// dot_bf16 adds products of bf16: even and odd columns of a row are summed
// apart, each by one FMA after the other, then both are added to the sum in
// tile d. Denormal numbers count as zero. Without the FMA instruction fmaf
// would be a function that knows nothing of that.
__attribute__((target("fma,avx2"))) static void dot_bf16(int d, int a, int b) {
	need_product(d, a, b);
	unsigned mode = _mm_getcsr();
	_mm_setcsr(0x1f80 | 0x8040); // no exceptions, to nearest even, flush to zero, denormals are zero
	int columns = row_bytes(d) / 4;
	for (int i = 0; i < rows(d); i++) {
		float even[ROW_BYTES / 4] = {0}, odd[ROW_BYTES / 4] = {0};
		for (int k = 0; k < rows(b); k++) {
			uint32_t x = tiles[a].u32[i][k];
			for (int j = 0; j < columns; j++) {
				uint32_t y = tiles[b].u32[k][j];
				even[j] = fmaf(bf16(x << 16), bf16(y << 16), even[j]);
				odd[j] = fmaf(bf16(x & 0xffff0000), bf16(y & 0xffff0000), odd[j]);
			}
		}
		for (int j = 0; j < columns; j++) tiles[d].f32[i][j] += even[j] + odd[j];
	}
	_mm_setcsr(mode);
}

// An instruction is the parts of a VEX-encoded instruction of map 0F38 that matter to AMX.
typedef struct {
	int prefix;          // 0 none, 1 66, 2 F3, 3 F2
	int opcode;
	int mod, reg, rm, vvvv;
	uint64_t address;    // with mod below 3: base plus displacement
	int64_t stride;      // and the index register, scaled
	int length;
} instruction;

static const int registers[16] = {
	REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
	REG_R8,  REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15,
};

// decode_address reads SIB and displacement, which lie behind the five bytes up to ModRM.
static void decode_address(instruction *in, const uint8_t *code, const greg_t *r) {
	int index_high = !(code[1] & 0x40) << 3, base_high = !(code[1] & 0x20) << 3, base = in->rm;
	if (in->rm == 4) {
		int sib = code[in->length++], index = (sib >> 3 & 7) | index_high;
		if (index != 4) in->stride = r[registers[index]] << (sib >> 6);
		base = sib & 7;
	}
	int32_t wide = 0;
	int relative = base == 5 && in->mod == 0; // to the next instruction, or to nothing with SIB
	if (in->mod == 2 || relative) {
		memcpy(&wide, code + in->length, sizeof wide);
		in->length += 4;
	} else if (in->mod == 1) {
		wide = (int8_t)code[in->length++];
	}
	in->address = wide;
	if (!relative) in->address += r[registers[base | base_high]];
	else if (in->rm == 5) in->address += (uint64_t)code + in->length;
}

static int decode(instruction *in, const uint8_t *code, const greg_t *r) {
	int three_byte_vex = code[0] == 0xc4, map_0f38 = (code[1] & 31) == 2, w0_l0 = (code[2] & 0x84) == 0;
	if (!three_byte_vex || !map_0f38 || !w0_l0) return 0;
	*in = (instruction){
		.prefix = code[2] & 3, .vvvv = ~code[2] >> 3 & 15, .opcode = code[3],
		.mod = code[4] >> 6, .reg = code[4] >> 3 & 7, .rm = code[4] & 7, .length = 5,
	};
	if (in->mod != 3) decode_address(in, code, r);
	return 1;
}

enum { NONE, P66, PF3, PF2 };

// execute reports whether it knew the instruction.
static int execute(const instruction *in) {
	int memory = in->mod != 3;
	switch (in->opcode << 4 | memory << 2 | in->prefix) {
	case 0x494 | NONE: load_config((const uint8_t *)in->address); return 1;
	case 0x494 | P66: memcpy((void *)in->address, config, sizeof config); return 1;
	case 0x490 | NONE: release(); return 1;
	case 0x490 | PF2: need_tile(in->reg); memset(&tiles[in->reg], 0, sizeof(tile)); return 1;
	case 0x4b4 | PF2: // TILELOADD
	case 0x4b4 | P66: load(in->reg, (const uint8_t *)in->address, in->stride); return 1; // TILELOADDT1
	case 0x4b4 | PF3: store(in->reg, (uint8_t *)in->address, in->stride); return 1;
	case 0x5c0 | PF3: dot_bf16(in->reg, in->rm, in->vvvv); return 1;
	case 0x5e0 | NONE: dot(in->reg, in->rm, in->vvvv, 0, 0); return 1;
	case 0x5e0 | P66: dot(in->reg, in->rm, in->vvvv, 0, 1); return 1;
	case 0x5e0 | PF3: dot(in->reg, in->rm, in->vvvv, 1, 0); return 1;
	case 0x5e0 | PF2: dot(in->reg, in->rm, in->vvvv, 1, 1); return 1;
	}
	return 0;
}

static void on_illegal_instruction(int number, siginfo_t *info, void *context) {
	greg_t *r = ((ucontext_t *)context)->uc_mcontext.gregs;
	instruction in;
	if (decode(&in, (const uint8_t *)r[REG_RIP], r) && execute(&in)) {
		r[REG_RIP] += in.length;
		return;
	}
	before.sa_sigaction(number, info, context);
}

void amxemu_install(void) {
	struct sigaction now = {.sa_sigaction = on_illegal_instruction, .sa_flags = SA_SIGINFO | SA_ONSTACK};
	sigfillset(&now.sa_mask);
	if (sigaction(SIGILL, &now, &before) != 0) fail("sigaction of SIGILL");
}

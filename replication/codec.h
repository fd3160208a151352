/* codec - the door to ISA-L: Reed-Solomon over GF(2^8) with a Cauchy matrix. k data cells give m parity cells; any k of
 * the k+m give back the others.
 *
 * The matrix is gf_gen_cauchy1_matrix(k+m, k): every square part of it is invertible for all shapes here (ISA-L's
 * gf_gen_rs_matrix is not for all m). k = 1, m = 1 is a mirror; m = 0 protects nothing and encodes nothing.
 * A cell may be absent by rule (NULL): cells past the end of a short stripe hold zeroes and are nowhere stored.
 * Thread: any, also at once (the cache of decode tables has a lock). Memory: codec_create returns owned.
 * Limits: CODEC_*. Errors: -EINVAL, -ENOMEM; a decode of k known cells cannot fail otherwise. */
#pragma once
#include "common/base.h"

#define CODEC_WIDTH_MAX  32                       /* k + m */
#define CODEC_ZERO_BYTES (CODEC_WIDTH_MAX * 4096) /* longest cell that may be NULL */
#define CODEC_TABLES_MAX 64                       /* decode tables kept */

struct codec;
int codec_create(unsigned k, unsigned m, struct codec **ret_codec);
void codec_destroy(struct codec *c);

/* data: k cells of cell_bytes (NULL: zeroes); ret_parity: m cells. Any alignment and length (at most INT_MAX). */
void codec_encode(struct codec *c, size_t cell_bytes, const uint8_t *const *data, uint8_t *const *ret_parity);

/* have: bits of exactly k fragments that are known; cells: their bytes, in rising fragment order (NULL: zeroes).
 * want: bits of the fragments to make (data or parity, none of have), written to ret_cells in rising order.
 * The same range of every cell works too: bytes at one offset depend only on bytes at that offset. */
int codec_decode(struct codec *c, size_t cell_bytes, uint32_t have, const uint8_t *const *cells, uint32_t want,
                 uint8_t *const *ret_cells);

/* filled - see filled.h. A record: u32 length of the payload, u32 CRC32C of it; the payload: u8 version, text name, octets
 * gist. */
#include "filled.h"

#include "crc32c.h"
#include "message.h"
#include "wire.h"

#include <assert.h>

static_assert(MOST_FILLED_GIST == MOST_GIST, "what gist may say can be written down");

#define RECORD_HEAD 8
#define MOST_PAYLOAD (MOST_FILLED_RECORD - RECORD_HEAD)

bool
filled_add(struct text *out, const struct filled *f)
{
	struct text payload = TEXT_UP_TO(MOST_PAYLOAD);

	wire_add_u8(&payload, FILLED_VERSION, 1);
	wire_add_text(&payload, f->name, MAILDIR_MOST_NAME);
	wire_add_octets(&payload, f->gist, MOST_FILLED_GIST);
	out->failed = out->failed || payload.failed;
	wire_add_u32(out, (uint32_t)payload.len, 4);
	wire_add_u32(out, crc32c(text_span(&payload)), 4);
	text_add(out, text_span(&payload));
	text_clear(&payload);
	return !out->failed;
}

bool
filled_take(struct span *in, struct filled *f)
{
	struct span rest = *in, payload;
	struct filled found;
	uint32_t len, crc;
	uint8_t version;

	if (!wire_take_u32(&rest, &len, 4) || !wire_take_u32(&rest, &crc, 4) || len > MOST_PAYLOAD ||
		!span_take_bytes(&rest, len, &payload) || crc32c(payload) != crc ||
		!wire_take_u8(&payload, &version, 1) || version != FILLED_VERSION ||
		!wire_take_text(&payload, &found.name, MAILDIR_MOST_NAME) ||
		!wire_take_octets(&payload, &found.gist, MOST_FILLED_GIST) || payload.len != 0)
		return false;
	*f = found;
	*in = rest;
	return true;
}

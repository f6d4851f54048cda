#include "tickets.h"

#include <nettle/hmac.h>
#include <string.h>

#include "common/secret.h"

void
tickets_derive(const unsigned char master[TICKET_MASTER_SIZE], enum service service,
	unsigned char key[TICKET_SERVICE_SIZE])
{
	static const unsigned char label[] = "valija session tickets, ";
	struct hmac_sha512_ctx context;
	const char *name = service_name(service);

	hmac_sha512_set_key(&context, TICKET_MASTER_SIZE, master);
	hmac_sha512_update(&context, sizeof(label), label);
	hmac_sha512_update(&context, strlen(name), (const unsigned char *)name);
	hmac_sha512_digest(&context, TICKET_SERVICE_SIZE, key);
	secret_wipe(&context, sizeof(context));
}

/* program - see program.h. */
#include "program.h"

#include <stddef.h>

const char *
program_name(enum program program)
{
	static const char *const names[] = {
#define P(symbol, name) name,
		PROGRAMS(P)
#undef P
	};

	return (unsigned int)program < PROGRAM_COUNT ? names[program] : "unknown";
}

static const struct {
	const char *name;
	uint16_t port;
	enum program program;
	int tls;
} services[] = {
#define S(symbol, name, port, program, tls) { name, port, PROGRAM_##program, tls },
	SERVICES(S)
#undef S
};

const char *
service_name(enum service service)
{
	return (unsigned int)service < SERVICE_COUNT ? services[service].name : "unknown";
}

uint16_t
service_port(enum service service)
{
	return (unsigned int)service < SERVICE_COUNT ? services[service].port : 0;
}

enum program
service_program(enum service service)
{
	return (unsigned int)service < SERVICE_COUNT ? services[service].program : PROGRAM_COUNT;
}

int
service_is_tls(enum service service)
{
	return (unsigned int)service < SERVICE_COUNT && services[service].tls;
}

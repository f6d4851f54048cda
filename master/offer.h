/*
 * offer - a new configuration comes into force everywhere, or nowhere.
 *
 *   none --offer_begin--> offered --all ready--> in force (swap)
 *                            |
 *                            +-- one refuses, or OFFER_SECONDS pass --> none (drop); the old one
 *                            stays
 */
#ifndef VALIJA_OFFER_H
#define VALIJA_OFFER_H

#include "common/text.h"
#include "master/process.h"

#define OFFER_SECONDS 5

/* Tells one process of a generation: certificates and keys first, then the settings. */
void offer_generation(struct process *p, const struct generation *g);
/* Reads the configuration again and offers it to all; when an offer is under way, after that. The
 * outcome is logged, and told to every command that waits for it (control_reload_done). */
void offer_begin(struct supervisor *s);
/* Offers the files of the generation in force as they are now, under the same settings. Nothing is done
 * while an offer is under way. */
void offer_renewal(struct supervisor *s);
/* Something changed: are all ready? */
void offer_settle(struct supervisor *s);
void offer_refused(
	struct supervisor *s, const struct process *p, uint32_t generation, struct span reason);
/* Opens the directory of the log file that is now in force, for DIRECTORY_LOG. */
void offer_log_directory(struct supervisor *s);
/* Forgets an offer without a word: at the stop. */
void offer_cancel(struct supervisor *s);

#endif

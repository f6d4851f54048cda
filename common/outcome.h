/*
 * outcome - the four ways in which anything asked for can end.
 */
#ifndef VALIJA_OUTCOME_H
#define VALIJA_OUTCOME_H

enum outcome {
	DONE = 1,   /* 2yz, OK, exit 0 */
	LATER = 2,  /* 4yz, NO [UNAVAILABLE], exit 75: nothing is lost, try again */
	NEVER = 3,  /* 5yz, NO, exit 65..: the asker's matter */
	BROKEN = 4, /* our fault: logged as error; answered as LATER */
};

#endif

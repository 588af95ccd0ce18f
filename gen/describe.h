/* describe: records as words; see lib/tell, which the agent speaks by too. */
#include "tell/describe.h"

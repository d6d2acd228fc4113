// The CPU backward for any machine.
#include "backward_engine.h"
#include "backward_strip.h"
#include "vec_generic.h"

namespace srcnn::cpu {
constinit const BackwardEngine kGenericBackwardEngine = make_backward_engine<Generic>();
}

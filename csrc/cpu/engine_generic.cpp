// The CPU kernels for any machine.
#include "engine.h"
#include "strip.h"
#include "vec_generic.h"

namespace srcnn::cpu {
constinit const Engine kGenericEngine = make_engine<Generic>();
}

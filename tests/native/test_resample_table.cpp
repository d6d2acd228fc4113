// The resampling tables: known weights, and what must hold for all of them.
#include <doctest/doctest.h>

#include <cstdint>
#include <vector>

#include "cpu/resample_table.h"
#include "samples.h"

using namespace srcnn;
using namespace samples;

namespace {

struct Known {
  Bicubic bicubic;
  double scale;
  std::vector<std::vector<double>> weights;  // of outputs one period long
  int64_t offset;                            // of the first output's first tap, in source samples
};

// Weight that output i gives to source sample j in all.
double weight_of(const cpu::ResampleTable& table, int64_t i, int64_t j) {
  double sum = 0;
  for (int64_t k = i * table.taps; k < (i + 1) * table.taps; ++k) {
    if (table.index[static_cast<size_t>(k)] == j) sum += table.weight[static_cast<size_t>(k)];
  }
  return sum;
}

}  // namespace

TEST_CASE("known weights") {
  const double third = 1.0 / 3;
  const Known all[] = {
      // MATLAB imresize(x, 2), 3 and 4
      {Bicubic::kMatlab,
       2,
       {{-0.0234375, 0.2265625, 0.8671875, -0.0703125}, {0, -0.0703125, 0.8671875, 0.2265625, -0.0234375}},
       -2},
      {Bicubic::kMatlab,
       3,
       {{-1 / 27.0, third, 7 / 9.0, -2 / 27.0}, {0, 0, 1, 0}, {0, -2 / 27.0, 7 / 9.0, third, -1 / 27.0}},
       -2},
      {Bicubic::kMatlab,
       4,
       {{-0.0439453125, 0.3896484375, 0.7275390625, -0.0732421875},
        {-0.0068359375, 0.0908203125, 0.9638671875, -0.0478515625},
        {0, -0.0478515625, 0.9638671875, 0.0908203125, -0.0068359375},
        {0, -0.0732421875, 0.7275390625, 0.3896484375, -0.0439453125}},
       -2},
      // imresize(x, 1/2) and 1/3; Pillow's are the same inside the image
      {Bicubic::kMatlab,
       0.5,
       {{-3 / 256.0, -9 / 256.0, 29 / 256.0, 111 / 256.0, 111 / 256.0, 29 / 256.0, -9 / 256.0, -3 / 256.0}},
       -3},
      {Bicubic::kPil,
       0.5,
       {{-3 / 256.0, -9 / 256.0, 29 / 256.0, 111 / 256.0, 111 / 256.0, 29 / 256.0, -9 / 256.0, -3 / 256.0}},
       -3},
      {Bicubic::kMatlab,
       third,
       {{-1 / 81.0, -2 / 81.0, 0, 1 / 9.0, 7 / 27.0, third, 7 / 27.0, 1 / 9.0, 0, -2 / 81.0, -1 / 81.0}},
       -4},
      {Bicubic::kPil,
       2,
       {{-0.0234375, 0.2265625, 0.8671875, -0.0703125}, {0, -0.0703125, 0.8671875, 0.2265625, -0.0234375}},
       -2},
      // F.interpolate: a = -0.75, never antialiased
      {Bicubic::kTorch,
       2,
       {{-0.03515625, 0.26171875, 0.87890625, -0.10546875}, {0, -0.10546875, 0.87890625, 0.26171875, -0.03515625}},
       -2},
      {Bicubic::kTorch, 0.5, {{-0.09375, 0.59375, 0.59375, -0.09375}}, -1},
  };
  for (const Known& known : all) {
    CAPTURE(name_of(known.bicubic));
    CAPTURE(known.scale);
    const int64_t in = 60, out = static_cast<int64_t>(std::lround(60 * known.scale));
    const cpu::ResampleTable table(known.bicubic, in, out, known.scale);
    const auto period = static_cast<int64_t>(known.weights.size());
    const int64_t first = out / period / 2 * period;  // in the middle of the image
    for (int64_t i = 0; i < period; ++i) {
      const std::vector<double>& weights = known.weights[static_cast<size_t>(i)];
      const auto origin = static_cast<int64_t>(static_cast<double>(first) / known.scale + 0.5) + known.offset;
      double others = 1;
      for (size_t k = 0; k < weights.size(); ++k) {
        CHECK(weight_of(table, first + i, origin + static_cast<int64_t>(k)) == doctest::Approx(weights[k]).epsilon(1e-6));
        others -= weights[k];
      }
      CHECK(std::abs(others) < 1e-12);  // the known ones are all there are
    }
  }
}

TEST_CASE("weights add up to one, indices are inside the image") {
  for (const Bicubic bicubic : kConventions) {
    for (const int64_t in : {1, 2, 3, 7, 100, 1000}) {
      for (const int64_t out : {1, 2, 3, 7, 50, 333, 1000, 5000}) {
        CAPTURE(name_of(bicubic));
        CAPTURE(in);
        CAPTURE(out);
        const double scale = static_cast<double>(out) / static_cast<double>(in);
        const cpu::ResampleTable table(bicubic, in, out, scale);
        REQUIRE(table.index.size() == static_cast<size_t>(out * table.taps));
        REQUIRE(table.weight.size() == table.index.size());
        double worst = 0;
        bool inside = true;
        for (int64_t i = 0; i < out; ++i) {
          double sum = -1;
          for (int64_t k = i * table.taps; k < (i + 1) * table.taps; ++k) {
            sum += table.weight[static_cast<size_t>(k)];
            inside = inside && table.index[static_cast<size_t>(k)] >= 0 && table.index[static_cast<size_t>(k)] < in;
          }
          worst = std::max(worst, std::abs(sum));
        }
        CHECK(worst < 1e-6);
        CHECK(inside);
      }
    }
  }
}

TEST_CASE("integer scales repeat: the next source sample, the same weights") {
  for (const Bicubic bicubic : kConventions) {
    for (const int scale : {2, 3, 4, 5, 7}) {
      const int64_t in = 50;
      const cpu::ResampleTable table(bicubic, in, in * scale, scale);
      double worst = 0;
      bool next = true;
      for (int64_t i = 2 * scale; i < (in - 3) * scale; ++i) {
        for (int k = 0; k < table.taps; ++k) {
          const auto at = static_cast<size_t>(i * table.taps + k), later = at + static_cast<size_t>(scale * table.taps);
          next = next && table.index[later] == table.index[at] + 1;
          worst = std::max(worst, static_cast<double>(std::abs(table.weight[later] - table.weight[at])));
        }
      }
      CAPTURE(name_of(bicubic));
      CAPTURE(scale);
      CHECK(table.taps == 4);
      CHECK(next);
      CHECK(worst < 1e-7);
    }
  }
}

TEST_CASE("symmetric: from the right end as from the left") {
  for (const Bicubic bicubic : kConventions) {
    for (const int64_t out : {4, 9, 23, 40, 41}) {
      const int64_t in = 23;
      const cpu::ResampleTable table(bicubic, in, out, static_cast<double>(out) / in);
      double worst = 0;
      for (int64_t i = 0; i < out; ++i) {
        for (int64_t j = 0; j < in; ++j) {
          worst = std::max(worst, std::abs(weight_of(table, i, j) - weight_of(table, out - 1 - i, in - 1 - j)));
        }
      }
      CAPTURE(name_of(bicubic));
      CAPTURE(out);
      CHECK(worst < 1e-6);
    }
  }
}

TEST_CASE("the reference's weights, for any ratio") {
  for (const Bicubic bicubic : kConventions) {
    for (const int64_t in : {1, 2, 3, 10, 1000}) {
      for (const int64_t out : {1, 3, 10, 50, 1000}) {
        const double scale = static_cast<double>(out) / static_cast<double>(in);
        const cpu::ResampleTable table(bicubic, in, out, scale);
        double worst = 0;
        for (int64_t i = 0; i < out; ++i) {
          std::vector<double> difference(static_cast<size_t>(in));
          for (const reference::Tap& tap : reference::window(bicubic, in, out, scale, i)) {
            difference[static_cast<size_t>(tap.source)] += tap.weight;
          }
          for (int64_t k = i * table.taps; k < (i + 1) * table.taps; ++k) {
            difference[static_cast<size_t>(table.index[static_cast<size_t>(k)])] -= table.weight[static_cast<size_t>(k)];
          }
          for (const double d : difference) worst = std::max(worst, std::abs(d));
        }
        CAPTURE(name_of(bicubic));
        CAPTURE(in);
        CAPTURE(out);
        CHECK(worst < 1e-6);
      }
    }
  }
}

TEST_CASE("an axis that keeps its length is one tap of weight one") {
  for (const Bicubic bicubic : kConventions) {
    const cpu::ResampleTable table(bicubic, 5, 5, 1);
    CHECK(table.taps == 1);
    CHECK(table.index == std::vector<int32_t>{0, 1, 2, 3, 4});
    CHECK(table.weight == std::vector<float>(5, 1.0f));
  }
}
